//! Hosts that are network namespaces, and guests that are others behind a wire to their tap.

use std::future::Future;
use std::io;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use ring_runtime_vm::net::{Attached, Network, NetworkConfig};
use ring_types::{InstanceId, Name, Port, Protocol};
use rustix::thread::UnshareFlags;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_tun::{Tun, TunBuilder};
use tokio_util::task::AbortOnDropHandle;

/// Nothing here takes longer.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

/// How long something that must not arrive is waited for.
pub(crate) const NEVER: Duration = Duration::from_millis(700);

type Job = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// A network namespace with a thread in it. It is gone when this is.
pub(crate) struct Space {
    jobs: mpsc::UnboundedSender<Job>,
    /// The thread by which the kernel knows the namespace.
    pub(crate) thread: i32,
}

#[expect(deprecated, reason = "its successor is unsafe for the sake of another flag than this one")]
fn leave() -> io::Result<()> {
    Ok(rustix::thread::unshare(UnshareFlags::NEWNET)?)
}

impl Space {
    /// None, and a word about it, where namespaces and taps cannot be made.
    pub(crate) fn new() -> Option<Self> {
        let (jobs, mut waiting) = mpsc::unbounded_channel::<Job>();
        let (ready, made) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let left = leave();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let thread = rustix::thread::gettid().as_raw_nonzero().get();
            let _ = ready.send(left.map(|()| thread));
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, async move {
                while let Some(job) = waiting.recv().await {
                    tokio::task::spawn_local(job());
                }
            });
        });
        let made = made.recv().expect("the thread answers");
        let missing = match &made {
            Err(error) => Some(error.to_string()),
            Ok(_) => ["/dev/net/tun", "/proc/sys/net/ipv4/ip_forward"]
                .into_iter()
                .find(|path| !std::path::Path::new(path).exists())
                .map(|path| format!("there is no {path}")),
        };
        if let Some(missing) = missing {
            crate::loud::skipped(&format!("no network namespace with taps can be made here: {missing}"));
            return None;
        }
        let thread = made.expect("it was made");
        Some(Self { jobs, thread })
    }

    /// Runs something in it.
    pub(crate) async fn run<T, F>(&self, work: impl FnOnce() -> F + Send + 'static) -> T
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
    {
        let (give, result) = oneshot::channel();
        let job: Job = Box::new(move || {
            Box::pin(async move {
                let _ = give.send(work().await);
            })
        });
        assert!(self.jobs.send(job).is_ok(), "the namespace is gone");
        tokio::time::timeout(DEADLINE, result).await.expect("in time").expect("it ended well")
    }
}

/// Runs a test in a host of its own, which has a loopback and nothing else, and is no router even where its machine is one.
pub(crate) fn host<F: Future<Output = ()> + 'static>(test: impl FnOnce() -> F + Send + 'static) {
    let Some(space) = Space::new() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(space.run(move || async move {
        ip("link set lo up");
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").expect("forwarding is set");
        test().await;
    }));
}

/// `ip` in the namespace of this thread.
pub(crate) fn ip(arguments: &str) -> String {
    output(&format!("ip {arguments}"))
}

/// What a command says; it has to succeed.
pub(crate) fn output(line: &str) -> String {
    let done = Command::new("sh").args(["-c", line]).output().expect("sh");
    assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).into_owned()
}

pub(crate) fn instance(number: u128) -> InstanceId {
    InstanceId(uuid::Uuid::from_u128(0x0189_0000_0000_7000_8000_0000_0000_0000 + number))
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

pub(crate) fn port(published: u16, target: u16, protocol: Protocol) -> Port {
    Port { published, target, host_ip: "127.0.0.1".to_owned(), protocol }
}

/// A network with its records in `dir`.
pub(crate) fn config(dir: &std::path::Path) -> NetworkConfig {
    NetworkConfig { udp_idle: Duration::from_millis(300), ..NetworkConfig::new(dir.join("net")) }
}

/// A guest that runs.
pub(crate) struct Guest {
    pub(crate) space: Space,
    pub(crate) given: Attached,
    _wires: [AbortOnDropHandle<()>; 2],
}

impl Guest {
    pub(crate) fn address(&self) -> Ipv4Addr {
        self.given.guest.addr()
    }
}

/// Gives an instance its network and puts a guest behind the tap. Called on the host's thread.
pub(crate) async fn guest(network: &Network, id: InstanceId, namespace: &str, ports: &[Port]) -> Guest {
    let given = network.attach(id, &name(namespace), ports).await.expect("it is attached");
    plug(given).await
}

/// Puts a guest behind a tap that is there.
pub(crate) async fn plug(given: Attached) -> Guest {
    let space = Space::new().expect("a second namespace");
    let outer = TunBuilder::new().name(&given.tap).tap().build().expect("the tap is there").remove(0);
    let (reactor, card) = (Handle::current(), given.clone());
    let inner: Tun = space
        .run(move || async move {
            let _here = reactor.enter();
            let inner = TunBuilder::new().name("eth0").tap().build().expect("a card").remove(0);
            ip("link set lo up");
            ip(&format!("link set eth0 address {} mtu {} up", card.mac, card.mtu));
            ip(&format!("addr add {} dev eth0", card.guest));
            ip(&format!("route add default via {}", card.gateway));
            inner
        })
        .await;
    let (outer, inner) = (Arc::new(outer), Arc::new(inner));
    let wires = [wire(Arc::clone(&outer), Arc::clone(&inner)), wire(inner, outer)];
    Guest { space, given, _wires: wires }
}

fn wire(from: Arc<Tun>, to: Arc<Tun>) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut frame = vec![0; 65_536];
        while let Ok(length) = from.recv(&mut frame).await {
            // A card that is not up takes nothing.
            let _ = to.send(&frame[..length]).await;
        }
    }))
}

/// The world beyond the host: 192.0.2.1, with the host at 192.0.2.2 and no route to anything behind it.
pub(crate) async fn outside() -> Space {
    let space = Space::new().expect("a second namespace");
    ip("link add out0 type veth peer name eth0");
    ip(&format!("link set eth0 netns {}", space.thread));
    ip("addr add 192.0.2.2/24 dev out0");
    ip("link set out0 up");
    ip("route add default via 192.0.2.1");
    space
        .run(|| async {
            ip("link set lo up");
            ip("addr add 192.0.2.1/24 dev eth0");
            ip("link set eth0 up");
        })
        .await;
    space
}

/// Waits until something is as it should be.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut is: impl FnMut() -> F) {
    let waited = tokio::time::timeout(DEADLINE, async {
        while !is().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("not in time: {what}"));
}
