//! What is fuzzed: each function takes any bytes, and panics when a promise about them does not hold. What a program reads from
//! outside may be refused, and is never a reason to end; what is read and written again stays the same.
//!
//! The targets in `fuzz_targets` call these with libFuzzer's bytes, `tests/fuzz` with the corpus and changes of it.

mod state;

use prost::Message;
use ring_api::manifest::{Manifest, Node, Variables, interpolate, interpolate_text};
use ring_api::query::{DeploymentQuery, EventQuery, HealthCheckQuery, LogQuery};
use ring_proto::agent::v1::agent_message::Message as FromAgent;
use ring_proto::agent::v1::control_message::Message as ToAgent;
use ring_proto::agent::v1::{AgentMessage, ControlMessage};
use ring_proto::raft::v1 as raft_wire;
use ring_proto::{Wire, rows as stored};
use ring_state::{Command, InstanceReport, Row, State, Table};
use ring_types::{Constraint, Cpu, DeploymentSpec, Memory, Name, NodeInfo, Span, Timestamp};

/// Takes any bytes; panics when a promise about them does not hold.
pub type Target = fn(&[u8]);

/// All of them, by name.
pub const TARGETS: [(&str, Target); 10] = [
    ("manifest", manifest),
    ("json", json),
    ("interpolation", interpolation),
    ("quantities", quantities),
    ("selectors", selectors),
    ("commands", commands),
    ("rows", rows),
    ("session", session),
    ("orders", orders),
    ("raft", raft),
];

fn variables() -> Variables {
    Variables::from_pairs([("A", "1"), ("EMPTY", ""), ("LONG", "long ".repeat(50).as_str()), ("ODD", "x\n- ${A} {")])
}

/// A manifest means the same as the JSON that is sent for it.
pub fn manifest(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(mut tree) = Node::from_yaml(text) else { return };
    let _ = interpolate(&mut tree, &variables(), false);
    let read = Manifest::from_tree(&tree);
    let sent = Manifest::from_json(tree.to_json().to_string().as_bytes());
    if let Ok(read) = read {
        assert_eq!(Ok(sorted(read)), sent.map(sorted), "{text}");
    }
}

/// The keys of JSON that is sent are sorted.
fn sorted(mut manifest: Manifest) -> Manifest {
    manifest.namespaces.sort_by(|a, b| a.label.cmp(&b.label));
    manifest.configs.sort_by(|a, b| a.label.cmp(&b.label));
    manifest.deployments.sort_by(|a, b| a.label.cmp(&b.label));
    manifest
}

/// The body of an apply, which nobody has checked.
pub fn json(data: &[u8]) {
    if let Ok((_, violations)) = Manifest::check_json(data) {
        assert!(violations.len() <= ring_api::manifest::MAX_MISTAKES + 1);
        assert_eq!(violations.is_empty(), Manifest::from_json(data).is_ok());
    }
}

/// Variables in a text; and the text as a file of variables.
pub fn interpolation(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (file, text) = text.split_once("\n\n").unwrap_or(("A=1", text));
    let variables = Variables::from_env_file(file).unwrap_or_default();
    let Ok((out, unset)) = interpolate_text(text, &variables) else { return };
    if !text.contains('$') {
        assert_eq!((out.as_str(), unset.len()), (text, 0));
    }
    // Dollar signs that are doubled come out as they were.
    let quoted = text.replace('$', "$$");
    assert_eq!(interpolate_text(&quoted, &variables), Ok((text.to_owned(), Vec::new())));
}

/// What is read from a text and written is read as the same.
fn stays<T: std::str::FromStr + ToString + PartialEq + std::fmt::Debug>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(value.to_string().parse().ok().as_ref(), Some(&value), "{text}");
    }
}

/// Amounts, durations, times, names and ids.
pub fn quantities(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for line in text.lines() {
        stays::<Cpu>(line);
        stays::<Memory>(line);
        stays::<Span>(line);
        stays::<Name>(line);
        stays::<ring_types::DeploymentId>(line);
        stays::<ring_types::InstanceState>(line);
        stays::<ring_types::RuntimeKind>(line);
        if let Ok(time) = line.parse::<Timestamp>() {
            let _ = (time.to_string(), time + Span(u64::MAX), time - Span(u64::MAX));
        }
    }
}

/// Constraints on labels, and the filters of queries.
pub fn selectors(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    stays::<Constraint>(text);
    if let Ok(query) = DeploymentQuery::parse(text) {
        assert_eq!(DeploymentQuery::parse(&query.encode()), Ok(query), "{text}");
    }
    if let Ok(query) = LogQuery::parse(text) {
        assert_eq!(LogQuery::parse(&query.encode()), Ok(query), "{text}");
    }
    if let Ok(query) = EventQuery::parse(text) {
        assert_eq!(EventQuery::parse(&query.encode()), Ok(query), "{text}");
    }
    if let Ok(query) = HealthCheckQuery::parse(text) {
        assert_eq!(HealthCheckQuery::parse(&query.encode()), Ok(query), "{text}");
    }
}

/// A value of some bytes that is written and read again.
fn again<T: Wire + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> Option<T> {
    let value = T::decode(bytes).ok()?;
    assert_eq!(T::decode(&value.encode()).as_ref(), Ok(&value));
    Some(value)
}

/// An entry of the log: whatever it says, every control node can apply it.
pub fn commands(data: &[u8]) {
    if let Some(command) = again::<Command>(data) {
        let mut world = state::World::new();
        world.apply(command);
        world.check();
    }
    again::<ring_state::Reply>(data);
}

/// A stored row, of the table its first byte says.
pub fn rows(data: &[u8]) {
    let Some((first, bytes)) = data.split_first() else { return };
    let table = Table::ALL[usize::from(*first) % Table::ALL.len()];
    let Ok(row) = stored::decode_row(table, bytes) else { return };
    let same = stored::decode_row(table, &stored::encode_row(&row));
    assert_eq!(same.as_ref(), Ok(&row));
    let mut all: Vec<Row> = state::World::new().state.rows().collect();
    all.push(row);
    if let Ok(state) = State::from_rows(ring_types::Revision(1000), all) {
        let _ = stored::digest(&state);
    }
}

/// What an agent says: read, and done as far as the state is concerned.
pub fn session(data: &[u8]) {
    let Ok(message) = AgentMessage::decode(data) else { return };
    let mut world = state::World::new();
    match message.message {
        Some(FromAgent::Hello(hello)) => world.register(hello.info.and_then(|info| NodeInfo::from_wire(info).ok())),
        Some(FromAgent::Info(update)) => world.register(update.info.and_then(|info| NodeInfo::from_wire(info).ok())),
        Some(FromAgent::Claim(claim)) => {
            let instances = claim.instance_ids.iter().filter_map(|id| id.parse().ok()).chain([state::INSTANCE]);
            world.claim(claim.epoch, instances.collect());
        }
        Some(FromAgent::Report(request)) => {
            let reports = request.reports.into_iter().filter_map(|report| InstanceReport::from_wire(report).ok());
            // Ids are not what is looked for: the report is of the instance that is there.
            world.report(reports.map(|report| InstanceReport { instance: state::INSTANCE, ..report }).collect());
        }
        _ => {}
    }
    world.check();
}

/// What an agent is told.
pub fn orders(data: &[u8]) {
    let Ok(message) = ControlMessage::decode(data) else { return };
    if let Some(ToAgent::Assignments(assignments)) = message.message {
        for spec in assignments.assignments.into_iter().filter_map(|one| one.spec) {
            if let Ok(spec) = DeploymentSpec::from_wire(spec) {
                let _ = (ring_types::validate(&spec), spec.secret_refs().len(), spec.resources.reserved());
            }
        }
    }
}

/// Messages between control nodes: any bytes are one or are not.
pub fn raft(data: &[u8]) {
    fn one<M: Message + Default + PartialEq>(data: &[u8]) {
        if let Ok(message) = M::decode(data) {
            assert!(M::decode(message.encode_to_vec().as_slice()).as_ref() == Ok(&message));
        }
    }
    one::<raft_wire::AppendRequest>(data);
    one::<raft_wire::AppendReply>(data);
    one::<raft_wire::VoteRequest>(data);
    one::<raft_wire::LogEntry>(data);
    one::<raft_wire::ProposeRequest>(data);
    one::<raft_wire::SnapshotOpening>(data);
    one::<raft_wire::SnapshotPiece>(data);
    if let Ok(frame) = raft_wire::SnapshotFrame::decode(data)
        && let Some(raft_wire::snapshot_frame::Frame::Rows(all)) = frame.frame
    {
        for row in all.rows {
            let bytes = [&row.key[..1.min(row.key.len())], &row.row].concat();
            rows(&bytes);
        }
    }
}
