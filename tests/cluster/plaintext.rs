//! What is secret is nowhere in the clear: not in a data directory, not in a log at its loudest, not in an answer of the API.
//!
//! The texts that are looked for are random and long, so that they stand as they are even in compressed blocks: a compressor of
//! the LZ4 family copies what it sees for the first time. That the search finds what is there is shown by texts that are no
//! secrets: each place that has to hold one is checked for it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use memchr::memmem;
use ring_testkit::cluster::Options;
use ring_testkit::flags::Role;
use ring_testkit::work::{IN_TIME, Runtime, job, manifest, new_key, worker};
use ring_testkit::{Cluster, RingNode, wait};
use serde_json::{Value, json};

/// A text that occurs nowhere by chance.
fn text(label: &str) -> String {
    format!("{label}+/{:032x}", rand::random::<u128>())
}

/// A secret text and every form it could be written in. Base64 depends on where in a longer text it begins: three forms, without
/// what depends on the neighbours.
struct Plaintext {
    what: &'static str,
    forms: Vec<Vec<u8>>,
}

impl Plaintext {
    fn new(what: &'static str, text: &str) -> Self {
        let bytes = text.as_bytes();
        let url = url_of(text);
        let mut forms = vec![text.to_owned(), hex::encode(bytes), hex::encode_upper(bytes), url.to_lowercase(), url];
        for skipped in 0..3 {
            let whole = bytes[skipped..].chunks_exact(3).flatten().copied().collect::<Vec<_>>();
            forms.extend([STANDARD.encode(&whole), URL_SAFE.encode(&whole)]);
        }
        // Written in JSON with its slashes escaped, and as a list of numbers, as derived debug output has bytes.
        forms.push(text.replace('/', "\\/"));
        forms.push(bytes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
        let forms = forms.into_iter().map(String::into_bytes).collect::<BTreeSet<_>>();
        Self { what, forms: forms.into_iter().collect() }
    }

    fn is_in(&self, bytes: &[u8]) -> bool {
        self.forms.iter().any(|form| memmem::find(bytes, form).is_some())
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let below = |entry: std::fs::DirEntry| {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files(&entry.path())
        } else if kind.is_file() {
            vec![entry.path()]
        } else {
            Vec::new()
        }
    };
    entries.flat_map(below).collect()
}

/// The files of a directory in which one of the texts is.
fn found<'a>(dir: &Path, texts: &'a [Plaintext]) -> BTreeSet<(&'a str, PathBuf)> {
    let mut found = BTreeSet::new();
    for path in files(dir) {
        let bytes = std::fs::read(&path).unwrap();
        found.extend(texts.iter().filter(|text| text.is_in(&bytes)).map(|text| (text.what, path.clone())));
    }
    found
}

/// What must not be found, and what must.
struct Texts {
    environment: String,
    file: String,
    registry: String,
    typed: String,
    user: String,
    /// In requests that are refused.
    refused: String,
    /// No secrets: the content of a config, a label, a name.
    config: String,
    label: String,
    name: String,
}

impl Texts {
    fn new() -> Self {
        Self {
            environment: text("environment"),
            file: text("file"),
            registry: text("registry"),
            typed: text("typed"),
            user: text("user"),
            refused: text("refused"),
            config: text("config"),
            label: format!("label-{:032x}", rand::random::<u128>()),
            name: format!("name-{:032x}", rand::random::<u128>()),
        }
    }

    fn secrets(&self) -> Vec<Plaintext> {
        vec![
            Plaintext::new("a secret in the environment", &self.environment),
            Plaintext::new("a secret in a file", &self.file),
            Plaintext::new("a registry password", &self.registry),
            Plaintext::new("the input of a command", &self.typed),
            Plaintext::new("the password of a user", &self.user),
            Plaintext::new("a password in a refused request", &self.refused),
        ]
    }

    fn controls(&self) -> [Plaintext; 3] {
        [Plaintext::new("config", &self.config), Plaintext::new("label", &self.label), Plaintext::new("name", &self.name)]
    }
}

fn post(cluster: &Cluster, path: &str, body: &Value, status: u16) -> Value {
    let answer = cluster.post(0, path, body, &new_key()).unwrap();
    assert_eq!(answer.status, status, "{path}: {}", answer.body);
    if answer.body.is_empty() { Value::Null } else { answer.json().unwrap() }
}

/// Gives a deployment everything that is secret, by every way there is.
fn with_secrets(mut deployment: Value, texts: &Texts) -> Value {
    deployment["environment"] = json!({ "SECRET": { "secretRef": "environment" } });
    deployment["labels"] = json!({ "found": texts.label });
    deployment["config"] = json!({ "username": "robot", "password": texts.registry });
    // A mount needs a namespace of its own, and that the rights of root.
    if rustix::process::geteuid().is_root() {
        deployment["volumes"] = json!([
            { "type": "secret", "source": "file", "destination": "/etc/ring-test/secret" },
            { "type": "config", "source": "settings", "key": "app", "destination": "/etc/ring-test/config" },
        ]);
    }
    deployment
}

/// Makes secrets and uses them; the tokens it was given.
fn keep_busy(cluster: &Cluster, texts: &Texts) -> Vec<Plaintext> {
    for (name, value) in [("environment", &texts.environment), ("file", &texts.file)] {
        post(cluster, "/secrets", &json!({ "namespace": "test", "name": name, "value": value }), 200);
    }
    let settings = json!({ "namespace": "test", "name": "settings", "data": { "app": texts.config } });
    post(cluster, "/configs", &settings, 200);
    let checked = format!(": {}; test ${{#SECRET}} -gt 40", texts.label);
    let once = job(&texts.name, Runtime::Process, &checked);
    let serves = worker("serves", Runtime::Process, &format!("{checked} && exec sleep 1000"));
    let ids = cluster.apply(&manifest([once, serves].map(|one| with_secrets(one, texts)))).unwrap();
    for (id, status) in ids.iter().zip(["completed", "running"]) {
        cluster.wait_status(id, status).unwrap();
    }
    commands(cluster, texts);
    let tokens = access(cluster, texts);
    refusals(cluster, texts);
    cluster.cli().ok(["secret", "rotate-key"]).unwrap();
    tokens
}

/// The value goes out of one command and into another.
fn commands(cluster: &Cluster, texts: &Texts) {
    let shown = cluster.cli().ok(["deployment", "exec", "test/serves", "--", "printenv", "SECRET"]).unwrap();
    assert_eq!(shown, texts.environment);
    let dir = tempfile::tempdir().unwrap();
    let typed = dir.path().join("typed");
    std::fs::write(&typed, &texts.typed).unwrap();
    let mut reads = cluster.cli().command(["deployment", "exec", "-i", "test/serves", "--", "cat"]);
    let echo = reads.stdin(std::fs::File::open(&typed).unwrap()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&echo.stdout), texts.typed);
}

/// An account, its sessions and tokens, and a token for hosts.
fn access(cluster: &Cluster, texts: &Texts) -> Vec<Plaintext> {
    post(cluster, "/users", &json!({ "username": "ann", "password": texts.user, "role": "operator" }), 200);
    let session = post(cluster, "/login", &json!({ "username": "ann", "password": texts.user }), 200);
    let token = post(cluster, "/tokens", &json!({ "name": "ci", "scopes": ["deployments:read"] }), 200);
    let join = cluster.join_token(Role::Agent).unwrap();
    let clear = |answer: &Value| answer["token"].as_str().unwrap().to_owned();
    // Of a token for hosts the part after its role and its id is secret; the last one is the authority's fingerprint.
    let join = join.split('_').nth(4).unwrap().to_owned();
    for answer in [&session, &token] {
        let own = cluster.control(1).http("GET", "/users/me").bearer(&clear(answer)).send().unwrap();
        assert!(own.status == 200 || own.status == 403, "{}", own.body);
    }
    vec![
        Plaintext::new("the token of a session", &clear(&session)),
        Plaintext::new("an API token", &clear(&token)),
        Plaintext::new("a join token", &join),
    ]
}

/// Requests that carry a secret and are refused, each for another reason.
fn refusals(cluster: &Cluster, texts: &Texts) {
    let value = &texts.refused;
    post(cluster, "/secrets", &json!({ "namespace": "test", "name": "no name", "value": value }), 422);
    post(cluster, "/secrets", &json!({ "namespace": "test", "name": "a", "value": value, "more": value }), 400);
    post(cluster, "/users", &json!({ "username": "ann", "password": value, "role": "operator" }), 409);
    post(cluster, "/login", &json!({ "username": "ann", "password": value }), 401);
    let mut wrong = job("wrong", Runtime::Process, "true");
    wrong["config"] = json!({ "username": "robot", "password": value, "image_pull_secret": "file" });
    post(cluster, "/deployments", &manifest([wrong]), 422);
}

/// What every route that is read answers, on every control node, into files of `dir`.
fn answers(cluster: &Cluster, dir: &Path) {
    let description = cluster.get_any("/openapi.json").unwrap();
    let paths = description["paths"].as_object().unwrap().iter().filter(|(_, item)| item.get("get").is_some());
    let mut read = 0;
    for path in paths.map(|(path, _)| path).filter(|path| !path.ends_with("/exec")) {
        for (n, path) in filled(cluster, path).into_iter().enumerate() {
            for control in 0..3 {
                let answer = cluster.get_from(control, &path).unwrap();
                assert!(answer.status < 500, "{path}: {}", answer.body);
                let file = dir.join(format!("{}-{n}-{control}", path.replace(['/', '?'], "_")));
                std::fs::write(file, format!("{:?}\n{}", answer.headers, answer.body)).unwrap();
                read += 1;
            }
        }
    }
    assert!(read > 60, "only {read} answers were looked at");
}

/// A path with every id there is in its place.
fn filled(cluster: &Cluster, path: &str) -> Vec<String> {
    let Some((before, rest)) = path.split_once('{') else { return vec![path.to_owned()] };
    let (field, after) = rest.split_once('}').unwrap();
    if field == "code" {
        return vec![format!("{before}auth.forbidden{after}")];
    }
    let list = cluster.get_any(before.trim_end_matches('/')).unwrap();
    let value = |one: &Value| one[field].to_string().trim_matches('"').to_owned();
    list.as_array().unwrap().iter().map(|one| format!("{before}{}{after}", value(one))).collect()
}

/// Everything a node keeps and wrote: its data, its configuration and its log.
fn place(node: &RingNode) -> &Path {
    node.data_dir().parent().unwrap()
}

fn snapshots(node: &RingNode) -> Vec<PathBuf> {
    let begins = |path: &PathBuf| std::fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"RINGSNAP"));
    files(node.data_dir()).into_iter().filter(begins).collect()
}

#[test]
fn nothing_secret_is_anywhere_in_the_clear() {
    let options = Options::default().env("RUST_LOG", "trace").env("RING_SNAPSHOT_EVERY", "50");
    let cluster = Cluster::loopback_with(3, 1, &options).unwrap();
    let (texts, replies) = (Texts::new(), tempfile::tempdir().unwrap());
    let mut secrets = texts.secrets();
    secrets.extend(keep_busy(&cluster, &texts));
    answers(&cluster, replies.path());
    for control in cluster.controls() {
        let with_config = |path: &PathBuf| std::fs::read(path).is_ok_and(|bytes| texts.controls()[0].is_in(&bytes));
        wait::until(IN_TIME, "a snapshot with what was applied", || {
            post(&cluster, "/namespaces/test/prune", &json!({}), 200);
            snapshots(control).iter().any(with_config)
        })
        .unwrap();
    }
    // One as it is cut off, the others as they end: what memory held goes to the disk.
    cluster.control(0).kill9().unwrap();
    for node in cluster.controls()[1..].iter().chain(cluster.agents()) {
        node.stop().unwrap();
    }

    let controls = texts.controls();
    let holds = |dir: &Path, what: &str| found(dir, &controls).iter().any(|(name, _)| *name == what);
    for control in cluster.controls() {
        assert!(holds(control.data_dir(), "config") && holds(control.data_dir(), "label"), "{}", control.name());
    }
    assert!(holds(cluster.agent(0).data_dir(), "label"), "the agent keeps what it runs");
    assert!(holds(replies.path(), "config") && holds(replies.path(), "label"), "the API shows them");
    let logged = found(place(cluster.control(0)), &controls);
    assert!(logged.iter().any(|(name, path)| *name == "name" && path.extension().is_some_and(|e| e == "log")), "{logged:?}");

    for node in cluster.controls().iter().chain(cluster.agents()) {
        assert_eq!(found(place(node), &secrets), BTreeSet::new(), "{}", node.name());
    }
    assert_eq!(found(replies.path(), &secrets), BTreeSet::new());
}

#[test]
fn the_search_finds_every_form() {
    let secret = text("x");
    let plaintext = Plaintext::new("it", &secret);
    for padding in ["", "a", "ab"] {
        let whole = format!("{padding}{secret}tail");
        for form in [whole.clone(), hex::encode(&whole), STANDARD.encode(&whole), URL_SAFE.encode(&whole), url_of(&whole)] {
            assert!(plaintext.is_in(format!("before {form} after").as_bytes()), "{form}");
        }
    }
    assert!(plaintext.is_in(format!("{:?}", secret.as_bytes()).as_bytes()));
    assert!(!plaintext.is_in(text("x").as_bytes()));
}

fn url_of(text: &str) -> String {
    text.replace('+', "%2B").replace('/', "%2F")
}
