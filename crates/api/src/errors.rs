//! The stable codes of errors: what each means and what to do. The reference is made from this table.

use ring_types::Rule;

/// Where the API serves an entry of the table: this, and the code.
pub const ENTRIES: &str = "/errors/";

macro_rules! codes {
    ($($code:ident = $word:literal, $status:literal: $meaning:literal, $next:literal;)+) => {
        /// The code of an error reply.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum ErrorCode {
            $(#[doc = $meaning] $code,)+
        }

        impl ErrorCode {
            /// All of them, by their words.
            pub const ALL: &[Self] = &[$(Self::$code),+];

            /// As it is written in a reply.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$code => $word),+ }
            }

            /// The HTTP status that goes with it.
            pub const fn status(self) -> u16 {
                match self { $(Self::$code => $status),+ }
            }

            /// What it means.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$code => $meaning),+ }
            }

            /// What to do next.
            pub const fn next_step(self) -> &'static str {
                match self { $(Self::$code => $next),+ }
            }
        }
    };
}

codes! {
    Forbidden = "auth.forbidden", 403: "The account or token may not do this, or not in this namespace.",
        "Use a token with the permission or namespace the message names, or ask an administrator for it.";
    WrongLogin = "auth.login", 401: "No account has this username and password.",
        "Log in again; an administrator can set a new password with `ring user update`.";
    Unauthenticated = "auth.required", 401: "There is no token, or it is not known, revoked or expired.",
        "Log in with `ring login`, or set `RING_TOKEN`.";
    MembersBusy = "cluster.busy", 409: "Another change of the control nodes is under way.",
        "Try again when `ring cluster status` shows that it is done.";
    NoLeader = "cluster.no_leader", 503: "No control node leads at this moment, as happens for a second or two during an election.",
        "Try again; when it stays so, look at `ring cluster status` and the logs of the control nodes.";
    NoQuorum = "cluster.no_quorum", 503: "No majority of the control nodes answers, so nothing can be decided. What runs goes on.",
        "Start the control nodes the reply names under `missing`. Reads with `?consistency=stale` work meanwhile.";
    OutcomeUnknown = "cluster.outcome_unknown", 503: "No answer came in time: the change may have been made, or may still be.",
        "Repeat the request with the same `Idempotency-Key`: it is done once.";
    EnrolUnavailable = "cluster.unavailable", 503: "The cluster cannot admit hosts at this moment.",
        "Try again; the message says what is missing.";
    ConfigNotFound = "config.not_found", 404: "There is no such config, or the caller may not see it.", "See `ring config list`.";
    ConfigRenamed = "config.renamed", 409: "A config is replaced under another name or namespace than it has.",
        "Make a new config, and delete the old one.";
    DeliveryNotFound = "delivery.not_found", 404: "There is no such delivery: the receiver has taken it, or it was too old or one of too many.",
        "See `ring webhook deliveries`.";
    DeploymentNotFound = "deployment.not_found", 404: "There is no such deployment, or the caller may not see it.",
        "See `ring deployment list`.";
    ExecInterrupted = "exec.interrupted", 503: "The way to a command in an instance broke, or the control node it was reached through stops. The command is ended, as far as its runtime can.",
        "See what it has done, and run it again.";
    ExecProtocol = "exec.protocol", 400: "What a client sent to a command is not part of the protocol, or more than it was let.",
        "Compare it with the reference of the protocol.";
    ExecRefused = "exec.refused", 409: "The node of the instance cannot run the command, or not now; the message says why.",
        "Do what the message says.";
    Foreign = "http.error", 502: "Something between the client and ring answered: a proxy, or another program. Only the command line says this.",
        "Check the address, and what stands between.";
    InstanceNotFound = "instance.not_found", 404: "The deployment has no such instance.", "See `ring deployment inspect`.";
    InstanceNotRunning = "instance.not_running", 409: "A command can be run only in an instance that runs.",
        "See `ring deployment inspect`, and what it wrote with `ring deployment logs`.";
    JoinTokenNotFound = "join_token.not_found", 404: "There is no such join token.", "See `ring cluster token list`.";
    LimitReached = "limit.reached", 409: "The cluster holds as many of these as it may.", "Delete some; see the limits.";
    LogsUnreachable = "logs.unreachable", 503: "The node that has the output cannot be asked.",
        "Try again when `ring node list` shows the node as ready.";
    ManifestSyntax = "manifest.syntax", 400: "The manifest is not YAML or JSON, or is too large or too deep.", "Correct the line the message names.";
    MemberAlone = "member.alone", 409: "There is no other control node that could lead.", "Add one first.";
    MemberBehind = "member.behind", 409: "The control node has not caught up with the log yet.",
        "Try again; `ring cluster status` shows how far it is.";
    MemberInvalid = "member.invalid", 409: "The control nodes cannot be changed in this way: the last voter cannot go, and the like.",
        "Do what the message says.";
    MemberLosesQuorum = "member.loses_quorum", 409: "After this change no majority of the voting control nodes would answer, and nothing could be written.",
        "Start the control nodes the message names, or remove those that will not come back, then try again.";
    MemberNotFound = "member.not_found", 404: "There is no such control node, or it was removed.", "See `ring cluster members`.";
    NamespaceNotFound = "namespace.not_found", 404: "There is no such namespace, or the caller may not see it.",
        "See `ring namespace list`.";
    NodeNotFound = "node.not_found", 404: "There is no such node.", "See `ring node list`.";
    NodeUnreachable = "node.unreachable", 503: "The node of the instance cannot be asked now. What runs on it goes on.",
        "Try again when `ring node list` shows the node as ready.";
    ObjectConflict = "object.conflict", 409: "The change does not fit what is there: the name is taken, the object is in use.",
        "Do what the message says; it names the object.";
    ObjectForbidden = "object.forbidden", 403: "The cluster refuses the change: the last administrator cannot go, and the like.",
        "Do what the message says.";
    ObjectNotFound = "object.not_found", 404: "There is no object with this id; it may have gone meanwhile.",
        "List the objects of this kind.";
    ObjectState = "object.state", 409: "The object is not in a state in which this can be done.", "Look at it, and try again.";
    RequestBody = "request.body", 400: "The body is not the JSON this path takes.", "Compare it with `/openapi.json`.";
    RequestHttps = "request.https", 400: "The port speaks HTTPS, and the request came as plain HTTP. What it carried was on the way in clear.",
        "Write `https://` before the address; `ring login` says what else is needed. Change a token or password that was sent.";
    RequestIdempotencyKey = "request.idempotency_key", 400: "The header `Idempotency-Key` is empty or too long.",
        "Send a UUID, a new one for each intended change.";
    RequestInvalid = "request.invalid", 422: "The request is well formed and breaks rules: `violations` has all of them.",
        "Correct what each violation names; its code is explained below.";
    RequestPath = "request.path", 400: "The path cannot be read.", "Compare it with `/openapi.json`.";
    RequestQuery = "request.query", 400: "A parameter of the query is not known or has no such value.",
        "Compare it with `/openapi.json`.";
    RequestSlow = "request.slow", 408: "The body of the request came too slowly; nothing was done.",
        "Send it again, over a faster way; see the limits.";
    RequestTimeout = "request.timeout", 504: "The control node did not answer in time; a change may have been made.",
        "Repeat the request with the same `Idempotency-Key`.";
    RequestTooLarge = "request.too_large", 413: "The request is larger than a request may be.", "Split it; see the limits.";
    RequestTooMany = "request.too_many", 429: "Too many attempts or requests in a short time, or streams at the same time; the message says of whom.",
        "Wait as long as `Retry-After` says; see the limits.";
    RequestUpgrade = "request.upgrade", 426: "The path is a WebSocket, and the request does not ask for one.",
        "Use `ring deployment exec`, or a WebSocket client.";
    RouteClosed = "route.closed", 405: "The path is there, but not for this method.", "Compare it with `/openapi.json`.";
    RouteNotFound = "route.not_found", 404: "There is no such path.", "Compare it with `/openapi.json`.";
    SecretNotFound = "secret.not_found", 404: "There is no such secret, or the caller may not see it.", "See `ring secret list`.";
    ServerBusy = "server.busy", 503: "The control node has as many connections as it takes, in all or from one address.",
        "End connections that are not needed, ask another control node, or set `[server.limits]` otherwise.";
    ServerInternal = "server.internal", 500: "The control node failed by a fault of its own.",
        "Look into its log, and report it.";
    ServerStopping = "server.stopping", 503: "The control node is stopping.", "Ask another one.";
    ServerStorage = "server.storage", 503: "The disk of the control node failed it; it ends.",
        "Ask another one, and look into the log of this one.";
    TokenNotFound = "token.not_found", 404: "There is no such token, or the caller may not see it.", "See `ring token list`.";
    UserNotFound = "user.not_found", 404: "There is no such account.", "See `ring user list`.";
    VolumeNotFound = "volume.not_found", 404: "There is no such volume, or the caller may not see it.", "See `ring volume list`.";
    WebhookNotFound = "webhook.not_found", 404: "There is no such webhook.", "See `ring webhook list`.";
}

impl ErrorCode {
    /// The code that is written so.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == word)
    }

    /// What a `….not_found` is about.
    pub fn subject(self) -> String {
        self.as_str().split('.').next().unwrap_or_default().replace('_', " ")
    }
}

/// The entry of a code, of an error or of a violation, as a page of plain text.
pub fn entry(code: &str) -> Option<String> {
    let page = |about: &str, meaning: &str, next: &str| format!("{code}\n\n{about}{meaning}\n\nWhat to do: {next}\n");
    if let Some(code) = ErrorCode::named(code) {
        return Some(page(&format!("HTTP status {}. ", code.status()), code.meaning(), code.next_step()));
    }
    let (field, word) = code.rsplit_once('.')?;
    let rule = Rule::ALL.iter().find(|rule| rule.as_str() == word)?;
    Some(page(&format!("A violation of a 422, about the field {field}. "), rule.meaning(), rule.next_step()))
}

/// The reference of all codes, in Markdown.
pub fn reference() -> String {
    let codes: Vec<_> = ErrorCode::ALL
        .iter()
        .map(|code| format!("| `{}` | {} | {} | {} |", code.as_str(), code.status(), code.meaning(), code.next_step()))
        .collect();
    let rules: Vec<_> =
        Rule::ALL.iter().map(|rule| format!("| `….{}` | {} | {} |", rule.as_str(), rule.meaning(), rule.next_step())).collect();
    format!(
        "## Replies\n\n\
         An error of the API is a body of type `application/problem+json` with `status`, `code`, `detail` and, where there is one, \
         `hint`. Its `type` is the address of the code's entry, which every control node serves: `GET {ENTRIES}CODE`. Codes stay \
         as they are from release to release; messages may change.\n\n\
         ```json\n{}\n```\n\n\
         | code | status | meaning | what to do |\n|---|---|---|---|\n{}\n\n\
         ## Violations\n\n\
         A 422 lists every broken rule under `violations`, each with `property_path`, `message` and `code`: the field, and one of \
         these words. `deployment.ports.published.duplicate` is the rule `duplicate` of the field `ports[].published`.\n\n\
         | code | meaning | what to do |\n|---|---|---|\n{}",
        example(),
        codes.join("\n"),
        rules.join("\n"),
    )
}

fn example() -> String {
    let problem = crate::problem::Problem::new(ErrorCode::DeploymentNotFound, "deployment 'web' not found");
    serde_json::to_string_pretty(&problem).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_single_and_in_order() {
        let words: Vec<_> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        assert!(words.is_sorted_by(|a, b| a < b), "{words:?}");
        assert!(words.iter().all(|word| word.split('.').count() == 2), "{words:?}");
    }

    #[test]
    fn errors_and_violations_have_entries() {
        for code in ErrorCode::ALL {
            assert!(entry(code.as_str()).is_some_and(|text| text.contains(code.next_step())), "{code:?}");
        }
        let text = entry("deployment.ports.published.duplicate").unwrap();
        assert!(text.contains("the field deployment.ports.published") && text.contains(Rule::Duplicate.meaning()), "{text}");
        assert_eq!((entry("nothing"), entry("deployment.nothing")), (None, None));
    }

    #[test]
    fn the_subject_of_a_missing_object_is_in_its_code() {
        assert_eq!(ErrorCode::JoinTokenNotFound.subject(), "join token");
    }
}
