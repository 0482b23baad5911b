//! Frames come back as they were, in whatever pieces they arrive, and bytes without sense are refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::{
    Address, End, Exec, Failed, File, Hello, Measured, Mount, Network, Source, Start, State, Step, TerminalSize, Tmpfs, ToGuest,
    ToHost, Welcome,
};

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..300)
}

fn source() -> impl Strategy<Value = Source> {
    prop_oneof![Just(Source::Stdout), Just(Source::Stderr)]
}

fn ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(|bytes| Ipv4Addr::from(bytes).into()),
        any::<[u8; 16]>().prop_map(|bytes| Ipv6Addr::from(bytes).into())
    ]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        (any::<i32>(), any::<u64>()).prop_map(|(code, at)| End::Exited { code, at }),
        (any::<i32>(), any::<u64>()).prop_map(|(signal, at)| End::Signaled { signal, at }),
        any::<u64>().prop_map(|at| End::OutOfMemory { at }),
        any::<u64>().prop_map(|at| End::Unknown { at }),
    ]
}

fn hello() -> impl Strategy<Value = Hello> {
    let state = prop_oneof![Just(State::Waiting), Just(State::Started), Just(State::Ended), Just(State::Failed)];
    (any::<u32>(), ".*", state).prop_map(|(version, boot, state)| Hello { version, boot, state })
}

fn failed() -> impl Strategy<Value = Failed> {
    let step = prop_oneof![Just(Step::Root), Just(Step::Mount), Just(Step::File), Just(Step::Network), Just(Step::User)];
    (step, ".*").prop_map(|(step, message)| Failed { step, message })
}

fn measured() -> impl Strategy<Value = Measured> {
    any::<[u64; 5]>().prop_map(|[uptime, memory, memory_total, cpu, threads]| Measured {
        uptime,
        memory,
        memory_total,
        cpu,
        threads,
    })
}

fn to_host() -> impl Strategy<Value = ToHost> {
    prop_oneof![
        hello().prop_map(ToHost::Hello),
        any::<(u32, u64)>().prop_map(|(pid, at)| ToHost::Started { pid, at }),
        (source(), any::<u64>(), bytes()).prop_map(|(source, offset, bytes)| ToHost::Output { source, offset, bytes }),
        end().prop_map(ToHost::Ended),
        failed().prop_map(ToHost::Failed),
        measured().prop_map(ToHost::Heartbeat),
        (any::<u32>(), source(), bytes()).prop_map(|(id, source, bytes)| ToHost::ExecOutput { id, source, bytes }),
        any::<(u32, u32)>().prop_map(|(id, bytes)| ToHost::ExecTaken { id, bytes }),
        any::<(u32, i32)>().prop_map(|(id, code)| ToHost::ExecExited { id, code }),
        (any::<u32>(), ".*").prop_map(|(id, message)| ToHost::ExecRefused { id, message }),
    ]
}

fn network() -> impl Strategy<Value = Network> {
    let address = (ip(), any::<u8>()).prop_map(|(address, prefix)| Address { address, prefix });
    let names = (vec(ip(), 0..3), vec(".*", 0..3), vec((ip(), ".*"), 0..3));
    (any::<[u8; 6]>(), vec(address, 0..3), vec(ip(), 0..3), any::<Option<u32>>(), names).prop_map(
        |(mac, addresses, gateways, mtu, (dns, search, hosts))| Network { mac, addresses, gateways, mtu, dns, search, hosts },
    )
}

fn start() -> impl Strategy<Value = Start> {
    let mount = (any::<[String; 3]>(), any::<bool>()).prop_map(|([tag, path, destination], read_only)| Mount {
        tag,
        path,
        destination,
        read_only,
    });
    let tmpfs =
        (".*", any::<Option<u64>>(), any::<u32>()).prop_map(|(destination, size, mode)| Tmpfs { destination, size, mode });
    let file = (".*", bytes(), any::<[u32; 3]>()).prop_map(|(destination, content, [mode, uid, gid])| File {
        destination,
        content,
        mode,
        uid,
        gid,
    });
    let places = (vec(mount, 0..3), vec(tmpfs, 0..3), vec(file, 0..3));
    (vec(".*", 0..3), vec((".*", ".*"), 0..3), any::<[String; 3]>(), places, proptest::option::of(network())).prop_map(
        |(argv, env, [cwd, user, hostname], (mounts, tmpfs, files), network)| Start {
            argv,
            env,
            cwd,
            user,
            hostname,
            mounts,
            tmpfs,
            files,
            network,
        },
    )
}

fn to_guest() -> impl Strategy<Value = ToGuest> {
    let size = || any::<(u16, u16)>().prop_map(|(rows, columns)| TerminalSize { rows, columns });
    let exec = (vec(".*", 0..3), any::<bool>(), proptest::option::of(size())).prop_map(|(argv, stdin, terminal)| Exec {
        argv,
        stdin,
        terminal,
    });
    prop_oneof![
        any::<(u32, u64)>().prop_map(|(version, offset)| ToGuest::Welcome(Welcome { version, offset })),
        start().prop_map(|start| ToGuest::Start(Box::new(start))),
        any::<u64>().prop_map(|offset| ToGuest::OutputAck { offset }),
        Just(ToGuest::ExitAck),
        any::<i32>().prop_map(|signal| ToGuest::Stop { signal }),
        Just(ToGuest::Kill),
        Just(ToGuest::Measure),
        (any::<u32>(), exec).prop_map(|(id, exec)| ToGuest::Exec { id, exec }),
        (any::<u32>(), bytes()).prop_map(|(id, bytes)| ToGuest::ExecInput { id, bytes }),
        any::<u32>().prop_map(|id| ToGuest::ExecClose { id }),
        (any::<u32>(), size()).prop_map(|(id, size)| ToGuest::ExecResize { id, size }),
        any::<u32>().prop_map(|id| ToGuest::ExecKill { id }),
        any::<(u32, u32)>().prop_map(|(id, bytes)| ToGuest::ExecTaken { id, bytes }),
    ]
}

/// Gives the bytes in pieces, and takes out what can be had after each.
fn decoded<T: DeserializeOwned>(bytes: &[u8], piece: usize) -> Result<(Vec<T>, bool), FrameError> {
    let (mut decoder, mut all) = (Decoder::default(), Vec::new());
    for piece in bytes.chunks(piece) {
        decoder.push(piece);
        while let Some(message) = decoder.next()? {
            all.push(message);
        }
    }
    Ok((all, decoder.is_partial()))
}

proptest! {
    #[test]
    fn messages_of_the_guest_come_as_they_went(all in vec(to_host(), 0..5), piece in 1_usize..50) {
        let bytes: Vec<u8> = all.iter().flat_map(|message| encode(message).unwrap()).collect();
        prop_assert_eq!(decoded(&bytes, piece), Ok((all.clone(), false)));
        let mut from = bytes.as_slice();
        for message in all {
            prop_assert_eq!(read_frame(&mut from).unwrap(), Some(message));
        }
        prop_assert_eq!(read_frame::<ToHost>(&mut from).unwrap(), None);
    }

    #[test]
    fn messages_of_the_host_come_as_they_went(all in vec(to_guest(), 0..5), piece in 1_usize..50) {
        let bytes: Vec<u8> = all.iter().flat_map(|message| encode(message).unwrap()).collect();
        prop_assert_eq!(decoded(&bytes, piece), Ok((all, false)));
    }

    #[test]
    fn a_message_that_is_cut_off_is_none(message in to_guest(), cut in any::<prop::sample::Index>()) {
        let bytes = encode(&message).unwrap();
        let cut = &bytes[..cut.index(bytes.len())];
        prop_assert_eq!(read_frame::<ToGuest>(&mut &*cut).unwrap(), None);
        prop_assert_eq!(decoded::<ToGuest>(cut, 7), Ok((Vec::new(), !cut.is_empty())));
    }

    #[test]
    fn bytes_of_a_stranger_end_nothing(head in any::<u32>(), body in vec(any::<u8>(), 0..200), fits in any::<bool>()) {
        let head = if fits { body.len() as u32 } else { head };
        let bytes = [&head.to_le_bytes()[..], &body].concat();
        let _ = decoded::<ToHost>(&bytes, 9);
        let _ = decoded::<ToGuest>(&bytes, 9);
        let _ = read_frame::<ToHost>(&mut bytes.as_slice());
        let _ = read_frame::<ToGuest>(&mut bytes.as_slice());
    }

    #[test]
    fn a_damaged_message_ends_nothing(message in to_host(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = encode(&message).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = decoded::<ToHost>(&bytes, 100);
    }
}

#[test]
fn what_is_too_long_is_neither_sent_nor_waited_for() {
    let output = |length| ToHost::Output { source: Source::Stdout, offset: 0, bytes: vec![0; length] };
    assert!(matches!(encode(&output(LONGEST)), Err(FrameError::TooLong(length)) if length > LONGEST));
    assert!(encode(&output(LONGEST - 16)).is_ok());
    let head = (LONGEST as u32 + 1).to_le_bytes();
    assert_eq!(decoded::<ToHost>(&head, 4), Err(FrameError::TooLong(LONGEST + 1)));
    let error = read_frame::<ToHost>(&mut &head[..]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!(error.to_string().contains("16777217"), "{error}");
}

#[test]
fn bytes_after_a_message_are_an_error() {
    let mut bytes = encode(&ToGuest::Kill).unwrap();
    bytes.push(0);
    bytes[0] += 1;
    assert_eq!(decoded::<ToGuest>(&bytes, 2), Err(FrameError::Trailing(1)));
}

#[test]
fn secrets_are_not_shown() {
    let start = Start {
        argv: vec!["hunter-1".to_owned()],
        env: vec![("KEY".to_owned(), "hunter-2".to_owned())],
        files: vec![File { destination: "/key".to_owned(), content: b"hunter-3".to_vec(), mode: 0, uid: 0, gid: 0 }],
        ..Start::default()
    };
    let shown = format!("{:?}", ToGuest::Start(Box::new(start.clone())));
    assert!(!shown.contains("hunter") && !shown.contains("104, 117"), "{shown}");
    assert_eq!(format!("{:?}", start.files), "[File { destination: \"/key\", .. }]");
}

/// A guest that was booted before the agent was replaced by another release says this.
#[test]
fn hello_has_the_form_it_always_had() {
    let hello = ToHost::Hello(Hello { version: 1, boot: "b".to_owned(), state: State::Ended });
    assert_eq!(encode(&hello).unwrap(), [5, 0, 0, 0, 0, 1, 1, b'b', 2]);
}
