//! The real VMM with the least a guest can be: what the guest says over vsock comes through, and what becomes of the VMM is what is
//! taken for an end.
//!
//! Needs `/dev/kvm`, a C compiler, and Cloud Hypervisor: `RING_TEST_CLOUD_HYPERVISOR`, or `cloud-hypervisor` in PATH.
#![cfg(target_arch = "x86_64")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "all of this is test code, which clippy sees only in test functions"
)]

#[path = "../common/loud.rs"]
mod loud;
mod vmm;

use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Instant;

use ring_guest::{End, Start, State, ToGuest, ToHost, VERSION, Welcome, read_frame, write_frame};
use vmm::{DEADLINE, Vmm};

struct Host {
    stream: UnixStream,
}

impl Host {
    /// Takes the guest's call, and hears its first words.
    fn take(listener: &UnixListener) -> (Self, State) {
        let begun = Instant::now();
        listener.set_nonblocking(true).unwrap();
        let stream = loop {
            match listener.accept() {
                Ok((stream, _)) => break stream,
                Err(_) => assert!(begun.elapsed() < DEADLINE, "the guest does not call"),
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        };
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut host = Self { stream };
        match host.receive() {
            ToHost::Hello(hello) => {
                assert_eq!(hello.version, VERSION);
                host.send(&ToGuest::Welcome(Welcome { version: VERSION, offset: 0 }));
                (host, hello.state)
            }
            other => panic!("it begins with {other:?}"),
        }
    }

    fn send(&mut self, message: &ToGuest) {
        write_frame(&mut self.stream, message).unwrap();
    }

    fn receive(&mut self) -> ToHost {
        read_frame(&mut self.stream).unwrap().expect("the guest hung up")
    }

    fn end(&mut self) -> i32 {
        assert!(matches!(self.receive(), ToHost::Started { pid: 7, .. }));
        match self.receive() {
            ToHost::Ended(End::Exited { code, .. }) => code,
            other => panic!("it does not end: {other:?}"),
        }
    }
}

fn start() -> ToGuest {
    // Longer than a packet, and than a guest takes without saying that it has read it.
    let env = (0..100).map(|number| (format!("NAME_{number}"), "x".repeat(1000))).collect();
    ToGuest::Start(Box::new(Start { argv: vec!["app".to_owned()], env, ..Start::default() }))
}

#[test]
fn a_code_comes_over_vsock_and_the_machine_goes_off_when_it_is_safe() {
    for code in [0, 42] {
        let Some(mut vmm) = Vmm::boot(&format!("exit={code}")) else { return };
        let (mut host, state) = Host::take(&vmm.listener);
        assert_eq!(state, State::Waiting);
        host.send(&start());
        assert_eq!(host.end(), code);
        assert!(vmm.runs(), "it went off before its end was safe");
        host.send(&ToGuest::ExitAck);
        vmm.gone();
        assert!(vmm.console().contains("tiny guest: off"));
        println!("from the start of the VMM to its end: {:?}", vmm.since.elapsed());
    }
}

#[test]
fn an_end_that_was_not_acknowledged_is_told_again() {
    let Some(mut vmm) = Vmm::boot("exit=3") else { return };
    let (mut host, _) = Host::take(&vmm.listener);
    host.send(&start());
    assert_eq!(host.end(), 3);
    drop(host);
    let (mut host, state) = Host::take(&vmm.listener);
    assert_eq!(state, State::Ended);
    assert_eq!(host.end(), 3);
    host.send(&ToGuest::ExitAck);
    vmm.gone();
}

#[test]
fn a_guest_that_goes_off_without_a_word_says_nothing() {
    let Some(mut vmm) = Vmm::boot("mute") else { return };
    vmm.gone();
    vmm.listener.set_nonblocking(true).unwrap();
    assert!(vmm.listener.accept().is_err(), "it called");
    assert!(vmm.console().contains("tiny guest: up"));
}
