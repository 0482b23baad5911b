//! What a reader refuses, and that it says which field of which message it was.

use prost::Message;
use ring_state::{Command, Entry, Instance, JoinToken, Namespace};
use ring_types::{Goal, NodeInfo, Port};

use crate::state::v1;
use crate::{Wire, WireError};

fn missing(message: &'static str, field: &'static str) -> WireError {
    WireError::Missing { message, field }
}

fn unknown(message: &'static str, field: &'static str, value: &str) -> WireError {
    WireError::Unknown { message, field, value: value.to_owned() }
}

#[test]
fn what_is_always_there_is_missed() {
    let id = vec![1; 16];
    assert_eq!(Entry::decode(b""), Err(missing("Entry", "request")));
    assert_eq!(Entry::from_wire(v1::Entry { at: 1, request: id.clone(), command: None }), Err(missing("Entry", "command")));
    assert_eq!(Command::decode(b""), Err(missing("Command", "kind")));
    assert_eq!(NodeInfo::decode(b""), Err(missing("NodeInfo", "capacity")));
    assert_eq!(Namespace::decode(b""), Err(missing("Namespace", "name")));
    assert_eq!(JoinToken::from_wire(v1::JoinToken { id, ..Default::default() }), Err(missing("JoinToken", "hash")));
    assert_eq!(Port::decode(b""), Err(missing("Port", "protocol")));
    assert_eq!(Goal::try_from(v1::Goal::Unspecified), Err(missing("Goal", "value")));
}

#[test]
fn a_field_of_a_command_is_named_with_its_variant() {
    let kind = v1::command::Kind::Claim(v1::command::Claim { node: vec![1; 3], ..Default::default() });
    let read = Command::from_wire(v1::Command { kind: Some(kind) });
    assert_eq!(read, Err(unknown("Command.Claim", "node", "of 3 bytes")));
}

#[test]
fn what_this_release_does_not_know_is_not_guessed() {
    let port = v1::Port { published: 80, target: 80, host_ip: String::new(), protocol: v1::Protocol::Tcp as i32 };
    assert_eq!(Port::from_wire(v1::Port { protocol: 9, ..port.clone() }), Err(unknown("Port", "protocol", "9")));
    assert_eq!(Port::from_wire(v1::Port { target: 65_536, ..port }), Err(unknown("Port", "target", "65536")));
    let namespace = v1::Namespace { name: "a/b".to_owned(), ..Default::default() };
    assert_eq!(Namespace::from_wire(namespace), Err(unknown("Namespace", "name", "a/b")));
    // A command of a later release: a oneof member with a number nobody here has heard of.
    assert_eq!(Command::decode(&[0xfa, 0x3e, 0]), Err(missing("Command", "kind")));
}

#[test]
fn a_state_between_two_known_ones_is_unknown() {
    let id = || vec![1; 16];
    let instance =
        v1::Instance { id: id(), deployment: id(), node: id(), goal: v1::Goal::Run as i32, state: 450, ..Default::default() };
    assert_eq!(Instance::decode(&instance.encode_to_vec()), Err(unknown("Instance", "state", "450")));
}

#[test]
fn bytes_of_something_else_are_malformed() {
    assert!(matches!(Entry::decode(&[0xff; 5]), Err(WireError::Malformed { .. })));
    assert!(matches!(Entry::decode(b"\x1a\x7f"), Err(WireError::Malformed { .. })));
}
