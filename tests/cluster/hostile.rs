//! Manifests and request bodies made to harm whoever reads them: each is refused, with what is wrong with it, in bounded time
//! and memory. The command runs within a limited address space, so that one that takes too much dies of it.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ring_testkit::command::{Outcome, run_within};
use ring_testkit::http::Response;
use ring_testkit::work::{Runtime, job, manifest};
use ring_testkit::{Cluster, RingCli};

/// Address space of one command, bytes: the program itself takes a good part of it.
const MEMORY: u64 = 768 << 20;
/// For one command of a build without optimisation, on a machine that is busy.
const DEADLINE: Duration = Duration::from_secs(20);
/// No message is longer, however long what it complains about is.
const LONGEST: usize = 64 << 10;

/// The beginning of a manifest whose deployment goes on with more fields.
const DEPLOYMENT: &str = "deployments:\n  a:\n    name: a\n    namespace: n\n    image: x\n";

fn dry_run(file: &Path) -> Outcome {
    let ring = RingCli::new().unwrap().env("BIG", "b".repeat(64 << 10)).env("SELF", "${SELF}");
    let ring = ring.env("RING_CONFIG_DIR", file.parent().unwrap().display().to_string());
    let wanted = ring.command(["apply", "--dry-run", "--offline", "-f", file.to_str().unwrap()]);
    let mut limited = Command::new("prlimit");
    limited.arg(format!("--as={MEMORY}")).arg(wanted.get_program()).args(wanted.get_args());
    for (name, value) in wanted.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    run_within(limited, DEADLINE).unwrap()
}

fn with(field: &str) -> String {
    format!("{DEPLOYMENT}    {field}\n")
}

fn in_environment(value: &str) -> String {
    with(&format!("environment: {{V: '{value}'}}"))
}

/// Ten aliases in each of so many lists.
fn laughs(levels: usize) -> String {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..levels {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(text, "a{level}: &a{level} [{aliases}]").unwrap();
    }
    text
}

fn merges(levels: usize) -> String {
    let mut text = "m0: &m0 {k: v}\n".to_owned();
    for level in 1..levels {
        let last = level - 1;
        writeln!(text, "m{level}: &m{level} {{<<: *m{last}, l{level}: *m{last}, r{level}: *m{last}}}").unwrap();
    }
    text
}

fn staircase(steps: usize) -> String {
    let mut text = String::new();
    for step in 0..steps {
        writeln!(text, "{}a:", " ".repeat(step)).unwrap();
    }
    text
}

fn many_deployments(count: usize, one: impl Fn(usize) -> String) -> String {
    let mut text = "deployments:\n".to_owned();
    for n in 0..count {
        writeln!(text, "  d{n}: {}", one(n)).unwrap();
    }
    text
}

/// A name, what is written, and a part of what has to be said of it.
type Case = (&'static str, Vec<u8>, &'static str);

fn text(name: &'static str, text: String, said: &'static str) -> Case {
    (name, text.into_bytes(), said)
}

fn cases() -> Vec<Case> {
    [shapes(), values(), variables()].concat()
}

/// Aliases, nesting and sizes.
fn shapes() -> Vec<Case> {
    vec![
        text("billion laughs", laughs(12), "with its aliases written out the manifest has more than 100000 values"),
        text("merge keys in each other", merges(30), "with its aliases written out the manifest has more than 100000 values"),
        text(
            "one long text, many aliases",
            format!("s: &s {}\nl: [{}]\n", "x".repeat(1 << 20), vec!["*s"; 20_000].join(", ")),
            "more than 64 MiB of text at line 2",
        ),
        text("an alias of itself", "a: &a [*a]\n".into(), "an alias refers to a value it is a part of at line 1"),
        text("an alias of nothing", "deployments: *nope\n".into(), "an alias refers to an anchor that is not there at line 1"),
        text("lists in lists", "[".repeat(100_000), "nested deeper than 64 levels"),
        text("maps in maps", "{a: ".repeat(100_000), "nested deeper than 64 levels"),
        text("dashes in dashes", "- ".repeat(100_000), "nested deeper than 64 levels at line 1"),
        text("indented ever more", staircase(2000), "nested deeper than 64 levels"),
        text("too many values", format!("l: [{}]", "1, ".repeat(150_000)), "more than 100000 values at line 1"),
        text("more than one document", "deployments: {}\n---\ndeployments: {}\n".into(), "more than one YAML document"),
    ]
}

/// Numbers and texts.
fn values() -> Vec<Case> {
    vec![
        text("more than a float", with("replicas: 1e400"), "'1e400' is not a number ring can hold at line 6"),
        text("infinity", with("replicas: .inf"), "'.inf' is not a number ring can hold at line 6"),
        text(
            "10^40 replicas",
            with(&format!("replicas: 1{}", "0".repeat(40))),
            "a.replicas: '10000000000000000000000000000000000000000' is not a whole number from 0 to 4294967295 (line 6)",
        ),
        text(
            "a number of many digits",
            with(&format!("replicas: {}", "9".repeat(3_000_000))),
            "is not a number ring can hold at line 6",
        ),
        text(
            "replicas that nobody wants",
            with("replicas: 4294967295"),
            "replicas is 4294967295, at most 10000 are allowed (line 6)",
        ),
        text("less than nothing", with("replicas: -1"), "'-1' is not a whole number from 0 to 4294967295 (line 6)"),
        text(
            "more memory than there is",
            with("resources: {limits: {memory: 99999999999Ti}}"),
            "a.resources.limits.memory: '99999999999Ti' is not an amount of memory",
        ),
        text(
            "longer than time",
            with("stop_grace: 999999999999999999d"),
            "a.stop_grace: '999999999999999999d' is not a duration",
        ),
        text(
            "tabs",
            "deployments:\n\ta:\n\t\tname: a\n".into(),
            "tabs disallowed within this context (block indentation) at line 2, column 2",
        ),
        text("a key twice", with("image: y"), "the key 'image' is there twice at line 6, column 5"),
        text(
            "a long key twice",
            format!("deployments: {{? {0}\n  : 1, ? {0}\n  : 2}}", "k".repeat(100_000)),
            "is there twice at line 2",
        ),
        text("a NUL escaped", with("command: [\"x\\0y\"]"), "a.command[0]: a text must not contain a NUL character (line 6)"),
        (
            "a NUL",
            b"deployments:\n  a: {name: a, namespace: n, image: x\0y}\n".to_vec(),
            "unexpected character: `\\u{0}' at line 2, column 38",
        ),
        text(
            "an escape sequence",
            DEPLOYMENT.replace("image: x", "image: \"x\\e[2Jy\""),
            "image must not contain control characters (line 5)",
        ),
        (
            "no UTF-8",
            b"deployments:\n  a: {name: \xff\xfe, namespace: n, image: x}\n".to_vec(),
            "it is no UTF-8 text: byte 26 (line 2) belongs to no character",
        ),
        ("100 MB", vec![b'#'; 100 << 20], "it has more than 4194304 bytes, which is all that is read"),
    ]
}

/// Variables, and rules that are broken often.
fn variables() -> Vec<Case> {
    vec![
        text(
            "defaults in defaults",
            in_environment(&format!("{}x{}", "${A:-".repeat(50_000), "}".repeat(50_000))),
            "defaults in defaults are nested deeper than 16 levels (line 6)",
        ),
        text(
            "a value that is repeated",
            in_environment(&"${BIG}".repeat(1000)),
            "with its variables replaced the manifest is larger than 4194304 bytes (line 6)",
        ),
        text(
            "values of many places",
            with(&format!("command: [{}]", "$BIG, ".repeat(1000))),
            "with its variables replaced the manifest is larger than 4194304 bytes (line 6)",
        ),
        text(
            "a default of itself as a name",
            DEPLOYMENT.replace("name: a", "name: '${A:-${A}}'"),
            "variable 'A' is not set (line 3)",
        ),
        text("a merge key from nowhere", format!("{DEPLOYMENT}    <<: 1\n"), "line 6"),
        text(
            "many mistakes",
            many_deployments(20_000, |n| format!("{{nope{n}: 1}}")),
            "20000 deployments in one manifest, at most 1000",
        ),
        text("many mistakes in few", many_deployments(900, |n| format!("{{nope{n}: 1}}")), "3500 more mistakes are not listed"),
        text(
            "many that wait for each other",
            many_deployments(1000, |n| {
                format!("{{name: d{n}, namespace: n, image: x, depends_on: [{{deployment: d{}}}]}}", (n + 1) % 1000)
            }),
            "'d0' waits for itself, directly or through others",
        ),
        text(
            "a quote without its end",
            with(&format!("command: \"'{}\"", "x".repeat(1 << 20))),
            "has a quote without its end (line 6)",
        ),
        text(
            "bytes as text",
            format!("deployments: !!binary {}\n", "A".repeat(4_000_000)),
            "deployments: a map is wanted here, not a text (line 1)",
        ),
    ]
}

#[test]
fn every_hostile_manifest_is_refused_with_what_is_wrong_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for (name, written, said) in cases() {
        let file = dir.path().join("hostile.yaml");
        std::fs::write(&file, written).unwrap();
        let out = dry_run(&file);
        if out.code != Some(1) || !out.stderr.contains(said) || out.stderr.len() > LONGEST {
            let shown: String = out.stderr.chars().take(600).collect();
            wrong.push(format!("{name}: {:?}, {} bytes, not '{said}' but:\n{shown}", out.code, out.stderr.len()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn what_only_looks_hostile_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let merged = "a: &a {name: a}\n";
    for (written, warning) in [
        (in_environment("${SELF}"), ""),
        (in_environment("${A:-${A}}"), "variable 'A' is not set, '${A:-${A}}' stays as it is written (line 6)"),
        (in_environment(&"${".repeat(100_000)), "has no closing brace"),
        (in_environment(&"$NOPE ".repeat(100_000)), "variable 'NOPE' is not set"),
        (with(&format!("command: [{}]", "'$NOPE', ".repeat(5000))), "4900 more warnings of this kind are not listed"),
        (many_deployments(1000, |n| format!("{{name: d{n}, namespace: n, image: x}}")), ""),
        (format!("configs: {{c: &c {{name: c, namespace: n, data: {{k: v}}}}, d: {{<<: *c, name: d}}}}\n{DEPLOYMENT}"), ""),
    ] {
        let file = dir.path().join("odd.yaml");
        std::fs::write(&file, written).unwrap();
        let out = dry_run(&file);
        assert!(out.success() && out.stderr.len() < LONGEST && out.stderr.contains(warning), "{warning}: {:.2000}", out.stderr);
    }
    let file = dir.path().join("merged.yaml");
    std::fs::write(&file, format!("{merged}deployments: {{a: {{<<: *a, namespace: n, image: x}}}}\n")).unwrap();
    assert!(dry_run(&file).stderr.contains("a: unknown field 'a'"), "a place for anchors is no part of a manifest");
}

#[test]
fn what_has_no_end_is_not_read_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let out = dry_run(Path::new("/dev/zero"));
    assert!(out.code == Some(1) && out.stderr.contains("more than 4194304 bytes"), "{}", out.stderr);
    let file = dir.path().join("takes-in.yaml");
    std::fs::write(&file, format!("configs: {{c: {{namespace: n, name: c, files: {{k: /dev/zero}}}}}}\n{DEPLOYMENT}")).unwrap();
    let out = dry_run(&file);
    assert!(out.code == Some(1) && out.stderr.contains("cannot take in '/dev/zero': it has more than"), "{}", out.stderr);
}

/// Memory a control node has in use, bytes.
fn resident(cluster: &Cluster) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", cluster.control(0).pid().unwrap())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

fn send(cluster: &Cluster, method: &str, path: &str, body: &str) -> Response {
    let request = cluster.control(0).http(method, path).bearer(cluster.token()).header("Content-Type", "application/json");
    request.body(body.to_owned()).timeout(DEADLINE).send().unwrap()
}

#[test]
fn hostile_bodies_are_refused_at_the_rest_interface() {
    let cluster = Cluster::loopback(1, 0).unwrap();
    let before = resident(&cluster);
    let one = |field: &str| format!(r#"{{"name": "a", "namespace": "n", "image": "x", {field}}}"#);
    let many = |count: usize| {
        format!(r#"{{"deployments": {{"a": {{{}}}}}}}"#, (0..count).map(|n| format!("\"f{n}\": 1")).collect::<Vec<_>>().join(","))
    };
    let cases = [
        ("/deployments", "[".repeat(100_000), 400, "nested deeper than 64 levels"),
        ("/deployments", format!("{}1{}", r#"{"a":"#.repeat(2000), "}".repeat(2000)), 400, "nested deeper than 64 levels"),
        ("/deployments", format!("[{}1]", "1,".repeat(1_900_000)), 400, "more than 100000 values"),
        ("/deployments", one(r#""replicas": 1e400"#), 400, "number out of range at line 1"),
        ("/deployments", one(&format!(r#""replicas": 1{}"#, "0".repeat(40))), 422, "is not a whole number from 0 to 4294967295"),
        ("/deployments", one(r#""image": "y""#), 400, "the key 'image' is there twice"),
        ("/deployments", one(r#""command": ["a\u0000b"]"#), 422, "a text must not contain a NUL character"),
        ("/deployments", many(45_000), 422, "more mistakes are not listed"),
        (
            "/deployments",
            format!(r#"{{"deployments": {{"{}": {{"a": 1, "b": 2}}}}}}"#, "k".repeat(2 << 20)),
            422,
            "unknown field 'a'",
        ),
        ("/deployments", one(&format!(r#""{}": 1"#, "k".repeat(2 << 20))), 422, "unknown field 'kkkk"),
        ("/deployments", "x".repeat((4 << 20) + 1), 413, "more than 4194304 bytes"),
        ("/secrets", "[".repeat(1 << 20), 400, "the body is not as expected"),
        ("/users", format!(r#"{{"username": {}"#, r#"{"a":"#.repeat(100_000)), 400, "the body is not as expected"),
        ("/configs", "x".repeat((4 << 20) + 1), 413, "more than 4194304 bytes"),
        ("/login", "[".repeat(1 << 20), 400, "the body is not as expected"),
    ];
    for (path, body, status, said) in cases {
        let answer = send(&cluster, "POST", path, &body);
        let shown: String = answer.body.chars().take(300).collect();
        assert_eq!(answer.status, status, "POST {path} of {body:.60}: {shown}");
        assert!(answer.body.contains(said) && answer.body.len() < LONGEST, "{said}: {} bytes: {shown}", answer.body.len());
    }
    let grown = resident(&cluster).saturating_sub(before);
    assert!(grown < 256 << 20, "the control node grew by {grown} bytes");
    let fine = manifest([job("fine", Runtime::Process, "true")]);
    let answer = send(&cluster, "POST", "/deployments", &fine.to_string());
    assert_eq!(answer.status, 200, "{}", answer.body);
}
