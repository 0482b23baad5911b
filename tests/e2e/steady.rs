//! A rolling update, and fewer replicas, under clients that never stop asking: no request is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use ring_testkit::lab::Lab;
use ring_testkit::work::{IN_TIME, Runtime, worker};
use ring_testkit::{Cluster, report, wait};
use serde_json::{Value, json};

use crate::three;

/// A proxy that follows the list of instances looks at it this often.
const LOOK: Duration = Duration::from_secs(1);
/// A client's pause from one request to the next.
const PAUSE: Duration = Duration::from_millis(5);
/// A request that takes longer is lost.
const PATIENCE: Duration = Duration::from_secs(2);

/// A web server that says its version, and ends at once when it is told to.
fn web(version: &str, replicas: u32) -> Value {
    let script =
        "mkdir -p /tmp/www; echo $VERSION > /tmp/www/index.html; trap 'exit 0' TERM; httpd -f -p 8080 -h /tmp/www & wait";
    let mut web = worker("web", Runtime::Docker, script);
    web["replicas"] = replicas.into();
    web["environment"] = json!({ "VERSION": version });
    web["health_checks"] = json!([{
        "type": "http", "url": "http://localhost:8080/", "interval": "500ms", "timeout": "2s", "on_failure": "alert",
        "readiness": true, "min_healthy_time": "1s",
    }]);
    web
}

/// Instances that are ready, of all versions, by the name of their host.
fn ready(list: &Value) -> BTreeMap<String, Vec<SocketAddr>> {
    let mut found: BTreeMap<String, Vec<SocketAddr>> = BTreeMap::new();
    for instance in list.as_array().unwrap().iter().flat_map(|one| one["instances"].as_array().unwrap()) {
        let (node, address) = (instance["node"].as_str().unwrap(), instance["address"].as_str());
        if let (true, Some(address)) = (instance["ready"] == true, address) {
            found.entry(node.to_owned()).or_default().push(SocketAddr::new(address.parse().unwrap(), 8080));
        }
    }
    found
}

/// What became of the requests of one client.
#[derive(Default)]
struct Account {
    /// How often each version answered.
    answers: BTreeMap<String, usize>,
    lost: Vec<String>,
}

/// The proxy: what it saw last, and whether it goes on.
#[derive(Default)]
struct Proxy {
    ready: Mutex<BTreeMap<String, Vec<SocketAddr>>>,
    /// Fewest instances that were ready at any look.
    fewest: Mutex<Option<usize>>,
    over: AtomicBool,
    accounts: Mutex<BTreeMap<String, Account>>,
}

impl Proxy {
    /// Follows the list until it is over.
    fn follow(&self, look: impl Fn() -> Option<Value>) {
        while !self.over.load(Ordering::SeqCst) {
            if let Some(list) = look() {
                let now = ready(&list);
                let count = now.values().map(Vec::len).sum();
                let mut fewest = self.fewest.lock().unwrap_or_else(PoisonError::into_inner);
                *fewest = Some(fewest.map_or(count, |fewest: usize| fewest.min(count)));
                *self.ready.lock().unwrap() = now;
            }
            thread::sleep(LOOK);
        }
    }

    /// Sends requests to the instances of one host, each in turn, until it is over.
    fn ask(&self, host: &str) {
        let mut turn = 0;
        while !self.over.load(Ordering::SeqCst) {
            let here = self.ready.lock().unwrap().get(host).cloned().unwrap_or_default();
            if !here.is_empty() {
                turn += 1;
                let to = here[turn % here.len()];
                let outcome = fetch(to);
                let mut accounts = self.accounts.lock().unwrap();
                let account = accounts.entry(host.to_owned()).or_default();
                match outcome {
                    Ok(version) => *account.answers.entry(version).or_default() += 1,
                    Err(error) => account.lost.push(format!("{to} on {host}: {error}")),
                }
            }
            thread::sleep(PAUSE);
        }
    }

    fn answers(&self, version: &str) -> usize {
        self.accounts.lock().unwrap().values().filter_map(|account| account.answers.get(version)).sum()
    }
}

/// One request on a connection of its own; the page.
fn fetch(to: SocketAddr) -> Result<String, String> {
    let exchange = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = exchange().map_err(|error| error.to_string())?;
    let (head, page) = answer.split_once("\r\n\r\n").ok_or_else(|| format!("cut short: {answer:?}"))?;
    if head.split(' ').nth(1) == Some("200") && page.ends_with('\n') {
        Ok(page.trim().to_owned())
    } else {
        Err(format!("not a page: {answer:?}"))
    }
}

fn list(cluster: &Cluster) -> Option<Value> {
    cluster.get_any("/deployments?name=web").ok()
}

/// Waits until one version alone has so many ready instances.
fn settles(cluster: &Cluster, id: &str, replicas: u64) {
    wait::eventually(2 * IN_TIME, &format!("{replicas} replicas of the new version alone"), || {
        let all = list(cluster).unwrap_or_default();
        let all = all.as_array().map(Vec::as_slice).unwrap_or_default();
        let alone = all.len() == 1 && all[0]["id"] == id && all[0]["ready_replicas"] == replicas;
        Ok((alone && all[0]["instances"].as_array().unwrap().len() as u64 == replicas).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error:#}: {:#}", list(cluster).unwrap_or_default()));
}

fn hosts_of(cluster: &Cluster, id: &str) -> BTreeSet<String> {
    let shown = cluster.deployment(id).unwrap();
    shown["instances"].as_array().unwrap().iter().map(|one| one["node"].as_str().unwrap().to_owned()).collect()
}

/// Two clients on each of the hosts, and the proxy's eye on the list, while `work` is done.
fn under_load(lab: &Lab, cluster: &Cluster, work: impl FnOnce(&Proxy)) -> Arc<Proxy> {
    let proxy = Arc::new(Proxy::default());
    let mut clients = Vec::new();
    for host in ["a1", "a1", "a2", "a2"] {
        let proxy = Arc::clone(&proxy);
        clients.push(lab.host(host).inside(move || proxy.ask(host)));
    }
    thread::scope(|scope| {
        scope.spawn(|| proxy.follow(|| list(cluster)));
        let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&proxy)));
        proxy.over.store(true, Ordering::SeqCst);
        if let Err(panic) = worked {
            std::panic::resume_unwind(panic);
        }
    });
    for client in clients {
        client.join().unwrap().unwrap();
    }
    proxy
}

#[test]
fn a_rolling_update_over_two_hosts_loses_no_request() {
    let Some((lab, cluster)) = three::with_docker("steady") else { return };
    let old = cluster.apply_one(web("one", 3)).unwrap();
    settles(&cluster, &old, 3);
    assert_eq!(hosts_of(&cluster, &old).len(), 2);
    let proxy = under_load(&lab, &cluster, |proxy| {
        wait::until(IN_TIME, "answers of the old version", || proxy.answers("one") > 200).unwrap();
        let new = cluster.apply_one(web("two", 3)).unwrap();
        settles(&cluster, &new, 3);
        assert_eq!(hosts_of(&cluster, &new).len(), 2);
        let before = proxy.answers("two");
        wait::until(IN_TIME, "answers of the new version", || proxy.answers("two") > before + 200).unwrap();
        // Fewer of the same version: those that go are told so first, too.
        let same = cluster.apply_one(web("two", 1)).unwrap();
        assert_eq!(same, new);
        settles(&cluster, &new, 1);
        let before = proxy.answers("two");
        wait::until(IN_TIME, "answers of the one that is left", || proxy.answers("two") > before + 100).unwrap();
    });
    let accounts = proxy.accounts.lock().unwrap();
    let lost: Vec<_> = accounts.values().flat_map(|account| &account.lost).collect();
    let answered: usize = accounts.values().flat_map(|account| account.answers.values()).sum();
    report::line(&format!("{answered} requests during an update of three replicas and its end, {} lost", lost.len()));
    assert!(lost.is_empty(), "{} of {} requests: {lost:#?}", lost.len(), answered + lost.len());
    assert!(answered > 500, "{answered}");
    let fewest = proxy.fewest.lock().unwrap();
    assert_eq!(*fewest, Some(1), "only the last step left fewer than three");
    let versions: BTreeSet<_> = accounts.values().flat_map(|account| account.answers.keys()).collect();
    assert_eq!(versions, ["one".to_owned(), "two".to_owned()].iter().collect());
}
