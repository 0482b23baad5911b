//! From applying a job to its final status, on three control nodes and three agents with the built-in runtime.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hyper::Method;
use ring_testkit::cluster::Options;
use ring_testkit::{Cluster, command};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::connection::Connection;
use crate::out;
use crate::ring::{NAMESPACE, NO_LIMITS};
use crate::stats::{Times, ms};
use crate::table::Table;

const DEADLINE: Duration = Duration::from_secs(30);
/// Between two questions for the status; the figures are too long by half of it.
const PAUSE: Duration = Duration::from_millis(5);

/// Runs `count` jobs through the API and as many through the command line, one after the other, and returns the table.
pub fn measure(runtime: &Runtime, count: usize) -> Result<Table> {
    let cluster = Cluster::loopback_with(3, 3, &Options::default().config(NO_LIMITS))?;
    let mut api = Vec::with_capacity(count);
    let mut cli = Vec::with_capacity(count);
    let leader = cluster.control(cluster.leader()?).api();
    let mut connection = runtime.block_on(Connection::open(leader))?.bearer(cluster.token());
    // The first of each makes the namespace and does not count.
    for number in 0..=count {
        let through_api = runtime.block_on(through_api(&mut connection, number)).with_context(|| cluster.tails())?;
        let through_cli = through_cli(&cluster, number).with_context(|| cluster.tails())?;
        if number > 0 {
            api.push(through_api);
            cli.push(through_cli);
        }
        if number % 10 == 0 {
            out::progress(&format!(
                "job {number} of {count}: {} (API), {} (ring apply --wait)",
                ms(through_api),
                ms(through_cli)
            ));
        }
    }
    let mut table = Table::new(&["job `true`, applied to completed", "median", "p99", "n", "aim"]);
    for (what, times) in [("API: POST, then GET until final", api), ("`ring apply --wait`, process to process", cli)] {
        let times = Times::new(times);
        let (median, p99) = (ms(times.median()), ms(times.percentile(99.0)));
        table.row([what.to_owned(), median, p99, times.count().to_string(), "1 s".to_owned()]);
    }
    Ok(table)
}

async fn through_api(connection: &mut Connection, number: usize) -> Result<Duration> {
    let body = manifest(&format!("api-{number}")).to_string();
    let start = Instant::now();
    let answer = connection.send(Method::POST, "/deployments", body).await?.json()?;
    let id = answer["deployments"][0]["id"].as_str().with_context(|| format!("no id in {answer}"))?;
    let path = format!("/deployments/{id}");
    loop {
        let job = connection.send(Method::GET, &path, "").await?.json()?;
        match job["status"].as_str() {
            Some("completed") => return Ok(start.elapsed()),
            Some("pending" | "creating" | "running") => {}
            _ => anyhow::bail!("the job did not complete: {job}"),
        }
        ensure!(start.elapsed() < DEADLINE, "the job takes too long: {job}");
        tokio::time::sleep(PAUSE).await;
    }
}

fn through_cli(cluster: &Cluster, number: usize) -> Result<Duration> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("job.json");
    std::fs::write(&file, manifest(&format!("cli-{number}")).to_string())?;
    let apply = cluster.cli().command(["apply".as_ref(), "--wait".as_ref(), "-f".as_ref(), file.as_os_str()]);
    let start = Instant::now();
    command::run(apply)?.ok()?;
    Ok(start.elapsed())
}

fn manifest(name: &str) -> Value {
    json!({ "deployments": { name: {
        "name": name,
        "namespace": NAMESPACE,
        "runtime": "process",
        "kind": "job",
        "command": ["true"],
    } } })
}
