//! The bytes of format 1, kept as files: what one release wrote, every later one has to read as the same value.
//!
//! `UPDATE_GOLDEN=1 cargo test -p ring-proto --test golden` writes the files anew; say in `CHANGES.md` what changed and why
//! stored data stays readable.

#![allow(clippy::unwrap_used)] // A test.

mod command;
mod names;
mod object;
mod reply;
mod spec;
mod webhook;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::fs;
use std::path::PathBuf;

use ring_proto::rows::{decode_row, encode_row};
use ring_proto::{Wire, WireError};
use ring_types::{
    ClusterId, ConfigId, DeploymentId, InstanceId, JoinTokenId, Name, NodeId, RequestId, SecretId, Timestamp, TokenId, UserId,
    VolumeId, WebhookId,
};
use uuid::Uuid;

const CLUSTER: ClusterId = ClusterId(Uuid::from_bytes([1; 16]));
const DEPLOYMENT: DeploymentId = DeploymentId(Uuid::from_bytes([2; 16]));
const OLDER: DeploymentId = DeploymentId(Uuid::from_bytes([3; 16]));
const INSTANCE: InstanceId = InstanceId(Uuid::from_bytes([4; 16]));
const NODE: NodeId = NodeId(Uuid::from_bytes([5; 16]));
const SECRET: SecretId = SecretId(Uuid::from_bytes([6; 16]));
const CONFIG: ConfigId = ConfigId(Uuid::from_bytes([7; 16]));
const USER: UserId = UserId(Uuid::from_bytes([8; 16]));
const TOKEN: TokenId = TokenId(Uuid::from_bytes([9; 16]));
const JOIN_TOKEN: JoinTokenId = JoinTokenId(Uuid::from_bytes([10; 16]));
const REQUEST: RequestId = RequestId(Uuid::from_bytes([11; 16]));
const VOLUME: VolumeId = VolumeId(Uuid::from_bytes([12; 16]));
const WEBHOOK: WebhookId = WebhookId(Uuid::from_bytes([13; 16]));
const AT: Timestamp = Timestamp(1_776_000_000_123);
const LATER: Timestamp = Timestamp(1_776_000_001_456);

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn updating() -> bool {
    std::env::var_os("UPDATE_GOLDEN").is_some()
}

fn file(example: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1").join(format!("{example}.hex"))
}

/// Compares a value with the bytes kept for it, in both directions.
fn check<T: PartialEq + Debug>(example: &str, value: &T, bytes: &[u8], decode: impl Fn(&[u8]) -> Result<T, WireError>) {
    let text = hex::encode(bytes).as_bytes().chunks(96).map(|line| [line, b"\n"].concat()).collect::<Vec<_>>().concat();
    if updating() {
        fs::write(file(example), &text).unwrap();
    }
    let kept = fs::read_to_string(file(example)).unwrap_or_else(|e| panic!("{example}: {e}; write it with UPDATE_GOLDEN=1"));
    let kept = hex::decode(kept.split_whitespace().collect::<String>()).unwrap();
    assert_eq!(decode(&kept).as_ref(), Ok(value), "{example}: the kept bytes are read as something else");
    assert_eq!(hex::encode(kept), hex::encode(bytes), "{example}: written differently than before");
}

fn check_wire<T: Wire + PartialEq + Debug>(example: &str, value: &T) {
    check(example, value, &value.encode(), T::decode);
}

#[test]
fn commands_keep_their_bytes() {
    for command in command::examples() {
        check_wire(&names::command(&command), &command);
    }
    check_wire("entry", &command::entry());
}

#[test]
fn actions_keep_their_bytes() {
    for action in command::actions() {
        let example = names::action(&action);
        check_wire(&example, &ring_state::Command::Plan { actions: vec![action] });
    }
}

#[test]
fn commands_about_webhooks_keep_their_bytes() {
    for command in webhook::commands() {
        check_wire(&names::hook(&command), &ring_state::Command::Hook(command));
    }
    for (example, row) in webhook::others() {
        check(example, &row, &encode_row(&row), |bytes| decode_row(row.key().table(), bytes));
    }
}

#[test]
fn replies_keep_their_bytes() {
    for reply in reply::examples() {
        check_wire(&names::reply(&reply), &reply);
    }
}

#[test]
fn rows_keep_their_bytes() {
    for row in [object::examples(), object::rotations()].concat() {
        let table = row.key().table();
        check(&names::row(&row), &row, &encode_row(&row), |bytes| decode_row(table, bytes));
    }
}

#[test]
fn specifications_keep_their_bytes() {
    check_wire("spec_full", &spec::full());
    check_wire("spec_plain", &spec::plain());
}

#[test]
fn exits_keep_their_bytes() {
    for (example, exit) in object::exits() {
        check_wire(example, &exit);
    }
}

#[test]
fn what_deployments_carry_keeps_its_bytes() {
    check_wire("apply_carrying", &command::carrying());
    for (example, row) in object::begun() {
        check(example, &row, &encode_row(&row), |bytes| decode_row(row.key().table(), bytes));
    }
    let row = object::carrying();
    check("deployment_carrying", &row, &encode_row(&row), |bytes| decode_row(row.key().table(), bytes));
    let [_, nfs] = object::volumes();
    check_wire("volume_nfs", &nfs);
    let row = object::used_token();
    check("token_used", &row, &encode_row(&row), |bytes| decode_row(row.key().table(), bytes));
}

#[test]
fn what_names_its_data_key_keeps_its_bytes() {
    check_wire("secret_put_sealed", &command::sealed());
    check_wire("bootstrap_with_key", &command::bootstrap_with_key());
    check_wire("reseal_webhook", &command::webhook_resealed());
    let (create, row) = webhook::sealed();
    check_wire("webhook_create_sealed", &create);
    for (example, row) in object::sealed().into_iter().chain([("webhook_sealed", row)]) {
        check(example, &row, &encode_row(&row), |bytes| decode_row(row.key().table(), bytes));
    }
}

#[test]
fn what_came_with_a_level_keeps_its_bytes() {
    check_wire("bootstrap_at_level", &command::bootstrap_at_level());
    check_wire("node_drained_until_return", &command::drained_until_return());
    let row = object::drained_until_return();
    check("node_until_return", &row, &encode_row(&row), |bytes| decode_row(row.key().table(), bytes));
    for (example, command) in command::cut_off() {
        check_wire(example, &command);
    }
    for (example, row) in object::cut_off() {
        check(example, &row, &encode_row(&row), |bytes| decode_row(row.key().table(), bytes));
    }
}

#[test]
fn rolling_updates_keep_their_bytes() {
    check_wire("apply_rolling", &command::rolling());
    check_wire("outcomes_rolling", &reply::rolling());
    let row = object::rolling();
    check("deployment_rolling", &row, &encode_row(&row), |bytes| decode_row(row.key().table(), bytes));
}

/// Examples have one value of an enum; this keeps the number of every one.
#[test]
fn enums_keep_their_numbers() {
    let path = file("x").with_file_name("enums.txt");
    if updating() {
        fs::write(&path, names::enums()).unwrap();
    }
    assert_eq!(names::enums(), fs::read_to_string(path).unwrap());
}

#[test]
fn every_kind_has_an_example_and_every_file_is_one() {
    let given: Vec<String> = [
        command::examples().iter().map(names::command).collect::<Vec<_>>(),
        command::actions().iter().map(names::action).collect(),
        webhook::commands().iter().map(names::hook).collect(),
        reply::examples().iter().map(names::reply).collect(),
        [object::examples(), object::rotations()].concat().iter().map(names::row).collect(),
    ]
    .concat();
    let wanted: BTreeSet<String> = names::ALL.iter().map(|n| (*n).to_owned()).collect();
    assert_eq!(given.into_iter().collect::<BTreeSet<_>>(), wanted);
    if updating() {
        return; // The other tests are writing the files just now.
    }
    let others = [
        "entry",
        "spec_full",
        "spec_plain",
        "apply_carrying",
        "deployment_carrying",
        "volume_nfs",
        "token_used",
        "deployment_begun",
        "instance_begun",
        "instance_moving",
        "apply_rolling",
        "outcomes_rolling",
        "deployment_rolling",
        "secret_put_sealed",
        "bootstrap_with_key",
        "bootstrap_at_level",
        "node_drained_until_return",
        "node_until_return",
        "apply_stop_on_disconnect",
        "node_silent",
        "node_register_level",
        "report_cut_off",
        "report_epoch",
        "node_silent_since",
        "deployment_agent_too_old",
        "secret_sealed",
        "deployment_sealed",
        "reseal_webhook",
        "webhook_create_sealed",
        "webhook_sealed",
    ]
    .into_iter()
    .chain(object::exits().map(|(example, _)| example))
    .chain(webhook::others().map(|(example, _)| example));
    let examples: BTreeSet<String> = wanted.into_iter().chain(others.map(str::to_owned)).collect();
    let files = fs::read_dir(file("x").parent().unwrap()).unwrap().map(|f| f.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|e| e == "hex"));
    let files = files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned());
    assert_eq!(files.collect::<BTreeSet<_>>(), examples);
}
