//! Clients of registers: configs that several clients write and read at once, each for some time.

use std::sync::Mutex;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ring_testkit::history::{Deed, Event, Found};
use ring_testkit::linear::{self, Operation};
use ring_testkit::work::NAMESPACE;
use serde_json::{Value, json};

use crate::load::{Change, Load, Sent};

/// Requests about one register; then there is another. This bounds the search for an order.
const WINDOW: usize = 120;

/// The number of whoever reads at the end.
pub(crate) const READER: usize = 99;

/// The register clients write to at present.
#[derive(Default)]
pub(crate) struct Registers {
    present: Mutex<Option<Register>>,
    /// Name and id of each there ever was.
    all: Mutex<Vec<(String, String)>>,
}

#[derive(Clone)]
struct Register {
    name: String,
    id: String,
    left: usize,
}

fn body(name: &str, value: u64) -> Value {
    json!({ "namespace": NAMESPACE, "name": name, "data": { "v": value.to_string() } })
}

/// The value of a config and the index that wrote it.
pub(crate) fn found(config: &Value) -> Option<Found> {
    let value = config["data"]["v"].as_str()?.parse().ok()?;
    Some(Found { value, version: config["version"].as_u64() })
}

impl Registers {
    /// The register to use now; the first to come makes it.
    fn present(&self, load: &Load<'_>, client: usize, rng: &mut StdRng) -> Option<Register> {
        let mut present = self.present.lock().unwrap();
        if present.as_ref().is_none_or(|register| register.left == 0) {
            *present = Self::make(load, client, rng);
            let made = present.iter().map(|register| (register.name.clone(), register.id.clone()));
            self.all.lock().unwrap().extend(made);
        }
        let register = present.as_mut()?;
        register.left -= 1;
        Some(register.clone())
    }

    fn make(load: &Load<'_>, client: usize, rng: &mut StdRng) -> Option<Register> {
        let value = load.fresh();
        let (name, call) = (format!("register-{value}"), load.now());
        let body = body(&name, value);
        let request = Change { method: "POST", path: "/configs".to_owned(), body: Some(&body) };
        match load.change(rng, &request, None).0 {
            Sent::Done(made, revision) => {
                load.note_change(client, &name, call, Some(value), Some(revision));
                Some(Register { name, id: made["id"].as_str()?.to_owned(), left: WINDOW })
            }
            Sent::Refused(status, said) => {
                load.wrong(format!("making {name}: {status} {said}"));
                None
            }
            Sent::Unknown => {
                load.wrong(format!("the end of making {name} stayed unknown"));
                None
            }
        }
    }

    /// Reads every register from one control node.
    pub(crate) fn read_all(&self, load: &Load<'_>, control: usize) {
        for (name, id) in self.all.lock().unwrap().iter() {
            let (call, path) = (load.now(), format!("/configs/{id}"));
            match load.send(control, "GET", &path, None, "") {
                Sent::Done(config, revision) => load.note_read(READER, name, call, (revision, found(&config), false)),
                Sent::Refused(status, said) => load.wrong(format!("reading {name} at the end: {status} {said}")),
                Sent::Unknown => load.wrong(format!("no answer about {name} at the end")),
            }
        }
    }

    /// One client, until it is over.
    pub(crate) fn client(&self, load: &Load<'_>, client: usize, seed: u64) {
        let mut rng = StdRng::seed_from_u64(seed);
        while load.goes_on() {
            let Some(register) = self.present(load, client, &mut rng) else { continue };
            if rng.random_range(0..5) < 2 {
                write(load, client, &mut rng, &register);
            } else {
                read(load, client, &mut rng, &register);
            }
        }
    }
}

/// One write. Every other time a client whose write got no answer does not ask again: then nobody knows.
fn write(load: &Load<'_>, client: usize, rng: &mut StdRng, register: &Register) {
    let (value, call) = (load.fresh(), load.now());
    let body = body(&register.name, value);
    let request = Change { method: "PUT", path: format!("/configs/{}", register.id), body: Some(&body) };
    let attempts = if rng.random_range(0..2) == 0 { 1 } else { 6 };
    match load.change(rng, &request, Some(attempts)).0 {
        Sent::Done(done, revision) => {
            if done["version"].as_u64() < Some(revision) {
                load.wrong(format!("{} was given {value} by entry {revision}, and then shown as {done}", register.name));
            }
            load.note_change(client, &register.name, call, Some(value), Some(revision));
        }
        Sent::Unknown => load.note_change(client, &register.name, call, Some(value), None),
        Sent::Refused(status, said) => load.wrong(format!("writing {}: {status} {said}", register.name)),
    }
}

fn read(load: &Load<'_>, client: usize, rng: &mut StdRng, register: &Register) {
    let (call, stale) = (load.now(), rng.random_range(0..5) == 0);
    let path = format!("/configs/{}{}", register.id, if stale { "?consistency=stale" } else { "" });
    match load.send(load.some_control(rng), "GET", &path, None, "") {
        Sent::Done(config, revision) => load.note_read(client, &register.name, call, (revision, found(&config), stale)),
        // An old copy may not have it yet, nor, on a control node that has just joined, who asks.
        Sent::Refused(401 | 404, _) if stale => {}
        Sent::Refused(status, said) => load.wrong(format!("reading {}: {status} {said}", register.name)),
        Sent::Unknown => {}
    }
}

/// Looks for an order of all that was done to each register; how many were judged.
pub(crate) fn judge(events: &[Event]) -> Result<usize, String> {
    let mut names: Vec<&String> = events.iter().map(|event| &event.key).filter(|key| key.starts_with("register-")).collect();
    names.sort();
    names.dedup();
    for name in &names {
        let of: Vec<Operation> = events.iter().filter(|event| event.key == **name).filter_map(operation).collect();
        if !linear::explained(&of) {
            return Err(format!("no order explains what clients saw of {name}: {of:#?}"));
        }
    }
    Ok(names.len())
}

fn operation(event: &Event) -> Option<Operation> {
    let deed = match event.deed {
        Deed::Write { value, .. } => linear::Deed::Write(value?),
        Deed::Read { found, stale: false, .. } => linear::Deed::Read(found?.value),
        Deed::Read { .. } => return None,
    };
    Some(Operation { call: event.call, answer: event.answer, deed })
}
