"""What schemathesis must not do to the server it tests. Each exception has its reason; everything else is left as generated."""

import os

import schemathesis

# Ids of what the run stands on. A request that would take it away asks for nobody's instead.
OWN_USER = os.environ["RING_FUZZ_USER"]
OWN_MEMBER = "1"
NOBODY = "00000000-0000-0000-0000-000000000000"


@schemathesis.hook
def before_call(context, case, kwargs):
    path, method = case.operation.path, case.method.upper()
    parameters = case.path_parameters or {}
    # A new password, another role or the end of its account would end the session of the run.
    if path == "/users/{id}" and method != "GET" and str(parameters.get("id")).lower() == OWN_USER:
        parameters["id"] = NOBODY
    # The only control node has to stay.
    if path == "/cluster/members/{id}" and method == "DELETE" and str(parameters.get("id")) == OWN_MEMBER:
        parameters["id"] = "99"
    # A stream that is followed has no end; tests of the server follow streams.
    if case.query and "follow" in case.query and path.startswith("/deployments/"):
        case.query.pop("follow")
