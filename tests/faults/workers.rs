//! Clients of deployments: each applies, scales and deletes its own, and reads those of all.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ring_testkit::history::Found;
use ring_testkit::work::{NAMESPACE, Runtime, manifest, worker};
use serde_json::{Value, json};

use crate::load::{Change, Load, Sent};

/// More replicas than any deployment has: version and replicas are one number for the history.
const BASE: u64 = 10;

/// What a client knows of one of its deployments.
#[derive(Default)]
struct Own {
    name: String,
    id: Option<String>,
    version: u64,
}

/// One client, until it is over.
pub(crate) fn client(load: &Load<'_>, client: usize, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut own = [fresh(load, client), fresh(load, client)];
    while load.goes_on() {
        match rng.random_range(0..8) {
            0 => apply(load, client, &mut rng, &mut own[0], true),
            1 => apply(load, client, &mut rng, &mut own[1], true),
            2 => scale(load, client, &mut rng, &mut own[0]),
            3 => {
                if rng.random_range(0..2) == 0 {
                    delete(load, client, &mut rng, &mut own[1]);
                }
            }
            _ => read_some(load, client, &mut rng),
        }
    }
}

fn fresh(load: &Load<'_>, client: usize) -> Own {
    Own { name: format!("worker-{client}-{}", load.fresh()), ..Own::default() }
}

fn scale(load: &Load<'_>, client: usize, rng: &mut StdRng, own: &mut Own) {
    let known = own.id.is_some();
    apply(load, client, rng, own, !known);
}

/// Applies another version, or the same one with other replicas.
fn apply(load: &Load<'_>, client: usize, rng: &mut StdRng, own: &mut Own, another: bool) {
    let replicas = rng.random_range(1..3);
    let version = if another { load.fresh() } else { own.version };
    let mut wanted = worker(&own.name, Runtime::Process, "exec sleep 1000");
    wanted["replicas"] = replicas.into();
    wanted["environment"] = json!({ "VERSION": version.to_string() });
    let (body, call) = (manifest([wanted]), load.now());
    let request = Change { method: "POST", path: "/deployments".to_owned(), body: Some(&body) };
    load.known_as(&own.name);
    match load.change(rng, &request, None).0 {
        Sent::Done(done, revision) => {
            load.note_change(client, &own.name, call, Some(version * BASE + replicas), Some(revision));
            own.id = done["deployments"][0]["id"].as_str().map(str::to_owned);
            own.version = version;
        }
        Sent::Refused(status, said) => load.wrong(format!("applying {}: {status} {said}", own.name)),
        Sent::Unknown => load.wrong(format!("the end of applying {} stayed unknown", own.name)),
    }
}

fn delete(load: &Load<'_>, client: usize, rng: &mut StdRng, own: &mut Own) {
    let Some(id) = own.id.take() else { return };
    let call = load.now();
    let request = Change { method: "DELETE", path: format!("/deployments/{id}"), body: None };
    match load.change(rng, &request, None) {
        (Sent::Done(_, revision), _) => load.note_change(client, &own.name, call, None, Some(revision)),
        // The first one was done, its answer lost, and the record is gone by now: which entry it was nobody knows.
        (Sent::Refused(404, _), 2..) => {
            load.note_change(client, &own.name, call, None, None);
            *own = fresh(load, client);
        }
        (Sent::Refused(status, said), _) => load.wrong(format!("deleting {}: {status} {said}", own.name)),
        (Sent::Unknown, _) => load.wrong(format!("the end of deleting {} stayed unknown", own.name)),
    }
}

fn read_some(load: &Load<'_>, client: usize, rng: &mut StdRng) {
    let names = load.names();
    if names.is_empty() {
        return;
    }
    // Mostly those that still change.
    let first = if rng.random_range(0..4) == 0 { 0 } else { names.len().saturating_sub(12) };
    let control = load.some_control(rng);
    read(load, client, control, &names[rng.random_range(first..names.len())]);
}

/// Reads one deployment from one control node; whether there was an answer.
pub(crate) fn read(load: &Load<'_>, client: usize, control: usize, name: &str) -> bool {
    let call = load.now();
    let path = format!("/deployments?namespace%5B%5D={NAMESPACE}&name={name}");
    match load.send(control, "GET", &path, None, "") {
        Sent::Done(list, revision) => {
            let all: Vec<Found> = list.as_array().into_iter().flatten().filter_map(found).collect();
            if all.len() > 1 {
                load.wrong(format!("two of {name} at once: {list}"));
            }
            load.note_read(client, name, call, (revision, all.first().copied(), false));
            true
        }
        Sent::Refused(status, said) => {
            load.wrong(format!("reading {name}: {status} {said}"));
            true
        }
        Sent::Unknown => false,
    }
}

fn found(deployment: &Value) -> Option<Found> {
    let stands = deployment["status"] != "deleted";
    let version: u64 = deployment["environment"]["VERSION"].as_str()?.parse().ok()?;
    let value = version * BASE + deployment["desired_replicas"].as_u64()?;
    stands.then_some(Found { value, version: None })
}
