//! Two clients at once at different control nodes: whatever they do, one order of it explains every answer and the end.

use std::collections::BTreeMap;
use std::sync::Barrier;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ring_testkit::Cluster;
use ring_testkit::http::Response;
use ring_testkit::model::{Answer, Model, Record, Request, Wanted};
use ring_testkit::work::{Runtime, manifest, new_key, worker};
use serde_json::{Value, json};

const NAMES: [&str; 3] = ["one", "two", "three"];
/// Requests of each client.
const REQUESTS: usize = 60;

fn deployment(wanted: &Wanted) -> Value {
    let mut one = worker(&wanted.name, Runtime::Process, "exec sleep 1000");
    one["replicas"] = wanted.replicas.into();
    one["environment"] = json!({ "VERSION": wanted.version.to_string() });
    one["health_checks"] = json!([{ "type": "command", "command": "true", "interval": "1s", "timeout": "1s" }]);
    one
}

/// A request and what came of it.
#[derive(Debug)]
struct Done {
    request: Request,
    answer: Answer,
    /// The entry it is, for one that was done; else the first and last state it may have been refused in.
    at: (u64, u64),
}

/// A client of one control node.
struct Client<'a> {
    cluster: &'a Cluster,
    control: usize,
    rng: StdRng,
    /// Ids it has heard of.
    ids: Vec<String>,
    /// Newest state it has heard of.
    seen: u64,
}

impl Client<'_> {
    fn some_request(&mut self) -> Request {
        let known = (!self.ids.is_empty()).then(|| self.ids[self.rng.random_range(0..self.ids.len())].clone());
        match (self.rng.random_range(0..10), known) {
            (0, Some(id)) => Request::Delete(id),
            (1 | 2, Some(id)) => Request::Rollback(id),
            (3, Some(id)) => Request::Restart(id),
            _ => {
                let first = self.rng.random_range(0..NAMES.len());
                let count = self.rng.random_range(1..3);
                let names =
                    (first..first + count).map(|n| NAMES[n % NAMES.len()].to_owned()).collect::<std::collections::BTreeSet<_>>();
                let each = names.into_iter().map(|name| {
                    let (version, replicas) = (self.rng.random_range(1..4), self.rng.random_range(1..4));
                    Wanted { name, version, replicas }
                });
                Request::Apply { wanted: each.collect(), force: self.rng.random_range(0..8) == 0 }
            }
        }
    }

    fn send(&self, request: &Request) -> Response {
        let post = |path: &str, body: &Value| self.cluster.post(self.control, path, body, &new_key()).unwrap();
        match request {
            Request::Apply { wanted, force } => {
                post(&format!("/deployments?force={force}"), &manifest(wanted.iter().map(deployment)))
            }
            Request::Rollback(id) => post(&format!("/deployments/{id}/rollback"), &json!({})),
            Request::Restart(id) => post(&format!("/deployments/{id}/restart"), &json!({})),
            Request::Delete(id) => {
                let node = self.cluster.control(self.control);
                node.http("DELETE", &format!("/deployments/{id}")).bearer(self.cluster.token()).send().unwrap()
            }
        }
    }

    /// The newest state, as a read shows it, and the ids in it.
    fn look(&mut self) -> u64 {
        let answer = self.cluster.get_from(self.control, "/deployments").unwrap();
        let list = answer.json().unwrap();
        self.ids = list.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect();
        answer.headers["ring-revision"].parse().unwrap()
    }

    fn act(&mut self) -> Done {
        let request = self.some_request();
        let answer = self.send(&request);
        let body = answer.json().unwrap();
        let said = match answer.status {
            200 => Answer::Done(body["deployments"].as_array().into_iter().flatten().map(said).collect()),
            404 => Answer::NotFound,
            409 | 422 => Answer::Refused,
            status => panic!("{request:?}: {status} {}", answer.body),
        };
        let before = self.seen;
        let at = match body["revision"].as_u64() {
            Some(revision) => (revision, revision),
            None => (before, self.look()),
        };
        assert!(at.1 >= before, "what comes later is a later entry: {before} {at:?}");
        self.seen = at.1;
        if let Answer::Done(all) = &said {
            self.ids.extend(all.iter().map(|(id, _)| id.clone()));
        }
        // What the other one does is known now and then only.
        if self.rng.random_range(0..4) == 0 {
            self.seen = self.look().max(self.seen);
        }
        Done { request, answer: said, at }
    }
}

fn said(one: &Value) -> (String, &'static str) {
    let outcome = one["outcome"].as_str().unwrap();
    let known = ["created", "updated", "replaced", "restored", "unchanged"];
    (one["id"].as_str().unwrap().to_owned(), known.into_iter().find(|known| *known == outcome).unwrap())
}

/// The model after each entry; every answer is what the model says.
fn replay(done: &[Done]) -> BTreeMap<u64, Model> {
    let mut model = Model::default();
    let mut states = BTreeMap::from([(0, model.clone())]);
    let mut entries: Vec<_> = done.iter().filter(|one| matches!(one.answer, Answer::Done(_))).collect();
    entries.sort_by_key(|one| one.at);
    for pair in entries.windows(2) {
        assert!(pair[0].at < pair[1].at, "two requests are one entry: {pair:#?}");
    }
    for one in entries {
        let Answer::Done(all) = &one.answer else { continue };
        let ids: Vec<_> = all.iter().map(|(id, _)| id.clone()).collect();
        let before = model.clone();
        let expected = model.act(&one.request, &ids);
        assert_eq!(one.answer, expected, "entry {}: {:?} on {before:#?}", one.at.0, one.request);
        states.insert(one.at.0, model.clone());
    }
    states
}

/// Each refusal is what the model says in a state it may have been made in.
fn judge_refusals(done: &[Done], states: &BTreeMap<u64, Model>) -> usize {
    let refused = done.iter().filter(|one| !matches!(one.answer, Answer::Done(_)));
    let mut count = 0;
    for one in refused {
        let (first, last) = one.at;
        let begin = states.range(..=first).next_back().unwrap().0;
        let explained = states.range(begin..=&last).any(|(_, model)| {
            // A record that was told to go may be found, or be gone already.
            let going = matches!(&one.request, Request::Delete(id) if one.answer == Answer::NotFound && model.is_gone(id));
            going || model.would(&one.request) == one.answer
        });
        assert!(explained, "{one:?} is explained by no state from {begin} to {last}: {:#?}", states.range(begin..=&last));
        count += 1;
    }
    count
}

/// What a control node shows, as the model has it.
fn shown(list: &Value) -> BTreeMap<String, (Option<Record>, Option<Record>)> {
    let mut found: BTreeMap<String, (Option<Record>, Option<Record>)> = BTreeMap::new();
    for one in list.as_array().unwrap().iter().filter(|one| one["status"] != "deleted") {
        let record = Record {
            id: one["id"].as_str().unwrap().to_owned(),
            version: one["environment"]["VERSION"].as_str().unwrap().parse().unwrap(),
            replicas: u32::try_from(one["desired_replicas"].as_u64().unwrap()).unwrap(),
            previous: None,
        };
        let pair = found.entry(one["name"].as_str().unwrap().to_owned()).or_default();
        let place = if one["rollout"] == "progressing" { &mut pair.1 } else { &mut pair.0 };
        assert_eq!(place.replace(record), None, "two of one kind: {list:#}");
    }
    found
}

fn wanted_end(model: &Model) -> BTreeMap<String, (Option<Record>, Option<Record>)> {
    let plain = |record: &Option<Record>| record.clone().map(|record| Record { previous: None, ..record });
    let all = model.names.iter().map(|(name, named)| (name.clone(), (plain(&named.standing), plain(&named.update))));
    all.filter(|(_, (standing, update))| standing.is_some() || update.is_some()).collect()
}

#[test]
fn what_two_clients_do_at_once_is_explained_by_one_order() {
    let cluster = Cluster::loopback(3, 0).unwrap();
    let leader = cluster.leader().unwrap();
    let seed = std::env::var("RING_ORDERS_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(7);
    let start = Barrier::new(2);
    let run = |number: u64, control: usize| {
        let rng = StdRng::seed_from_u64(seed * 2 + number);
        let mut client = Client { cluster: &cluster, control, rng, ids: Vec::new(), seen: 0 };
        start.wait();
        (0..REQUESTS).map(|_| client.act()).collect::<Vec<_>>()
    };
    let done: Vec<Done> = std::thread::scope(|scope| {
        // The leader itself, and one that passes everything on to it.
        let both = [(0, leader), (1, (leader + 1) % 3)].map(|(number, control)| scope.spawn(move || run(number, control)));
        both.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    let states = replay(&done);
    let refused = judge_refusals(&done, &states);
    let last = states.values().next_back().unwrap();
    let list = cluster.get_any("/deployments").unwrap();
    assert_eq!(shown(&list), wanted_end(last), "seed {seed}");
    for named in last.names.values() {
        for record in named.standing.iter().chain(&named.update) {
            assert_eq!(cluster.deployment(&record.id).unwrap()["has_previous"], record.previous.is_some(), "{record:?}");
        }
    }
    cluster.wait_same_state().unwrap();
    let outcomes = done.iter().filter_map(|one| if let Answer::Done(all) = &one.answer { Some(all) } else { None }).flatten();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    outcomes.for_each(|(_, outcome)| *counts.entry(outcome).or_default() += 1);
    ring_testkit::report::line(&format!("{} requests, {refused} refused, {counts:?}", done.len()));
    // A history in which nothing happens proves nothing.
    assert!(counts.len() == 5 && refused > 0, "{counts:?}, {refused} refused");
}
