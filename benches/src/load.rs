//! Closed-loop load: each client has one request in flight, always.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::task::JoinSet;

use crate::cpu::{Reading, Used};
use crate::stats::Times;

/// Bytes of every value that is written, on all systems.
pub const VALUE_BYTES: usize = 256;

/// A client of one of the systems.
pub trait Writer: Send + 'static {
    /// Writes `value` and waits until the system has acknowledged it.
    fn write(&mut self, value: &str) -> impl Future<Output = Result<()>> + Send;
}

/// How long to load a system.
#[derive(Debug, Clone, Copy)]
pub struct Spans {
    /// Before anything counts.
    pub warm_up: Duration,
    /// What is measured.
    pub measured: Duration,
}

/// What a load saw.
#[derive(Debug)]
pub struct Load {
    /// Acknowledged writes a second.
    pub rate: f64,
    /// From the start of a write to its acknowledgement.
    pub latency: Times,
    /// Writes that failed, among all.
    pub failed: usize,
    /// The first failure.
    pub failure: Option<String>,
    /// Processor time.
    pub cpu: Used,
}

impl Load {
    /// Processor time of the servers for one write, in microseconds.
    pub fn server_cpu_us(&self) -> f64 {
        self.cpu.servers * 1e6 / self.latency.count().max(1) as f64
    }
}

/// The window writes are counted in.
#[derive(Debug, Clone, Copy)]
struct Window {
    from: Instant,
    to: Instant,
}

/// What one client saw.
#[derive(Debug, Default)]
struct Seen {
    times: Vec<Duration>,
    failed: usize,
    failure: Option<String>,
}

/// Lets all `writers` write at once, each as fast as it is acknowledged. `servers` are the processes whose time is counted.
pub async fn run<W: Writer>(writers: Vec<W>, spans: Spans, servers: &[i32]) -> Result<Load> {
    let from = Instant::now() + spans.warm_up;
    let window = Window { from, to: from + spans.measured };
    let mut clients = JoinSet::new();
    for (number, writer) in writers.into_iter().enumerate() {
        clients.spawn(client(writer, number, window));
    }
    tokio::time::sleep_until(window.from.into()).await;
    let before = Reading::now(servers)?;
    tokio::time::sleep_until(window.to.into()).await;
    let cpu = Reading::now(servers)?.since(&before);
    let mut all = Seen::default();
    while let Some(seen) = clients.join_next().await {
        let seen = seen.context("a client of the load panicked")?;
        all.times.extend(seen.times);
        all.failed += seen.failed;
        all.failure = all.failure.or(seen.failure);
    }
    if all.times.is_empty() {
        bail!("no write was acknowledged: {}", all.failure.unwrap_or_default());
    }
    let rate = all.times.len() as f64 / spans.measured.as_secs_f64();
    Ok(Load { rate, latency: Times::new(all.times), failed: all.failed, failure: all.failure, cpu })
}

/// Writes until the window closes; a write counts when its acknowledgement falls into the window.
async fn client(mut writer: impl Writer, number: usize, window: Window) -> Seen {
    let mut seen = Seen::default();
    for count in 0_u64.. {
        let start = Instant::now();
        if start >= window.to {
            break;
        }
        let result = writer.write(&value(number, count)).await;
        let end = Instant::now();
        match result {
            Ok(()) if end >= window.from && end < window.to => seen.times.push(end - start),
            Ok(()) => {}
            Err(error) => {
                seen.failed += 1;
                seen.failure.get_or_insert_with(|| format!("{error:#}"));
            }
        }
    }
    seen
}

/// A value nobody wrote before: a system may not answer that nothing changed.
fn value(client: usize, count: u64) -> String {
    let start = format!("{client:06}-{count:012}-");
    let fill = "0123456789abcdefghijklmnopqrstuvwxyz".chars().cycle().skip(count as usize % 36);
    start.chars().chain(fill).take(VALUE_BYTES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone)]
    struct Sleeper;

    impl Writer for Sleeper {
        async fn write(&mut self, _value: &str) -> Result<()> {
            tokio::time::sleep(Duration::from_millis(5)).await;
            Ok(())
        }
    }

    #[tokio::test]
    async fn the_rate_is_that_of_the_window() {
        let spans = Spans { warm_up: Duration::from_millis(50), measured: Duration::from_millis(400) };
        let load = run(vec![Sleeper; 4], spans, &[]).await.unwrap();
        assert!(load.rate > 100.0 && load.rate <= 820.0, "four clients of 5 ms make at most 800/s: {}", load.rate);
        assert!(load.latency.median() >= Duration::from_millis(5));
        assert_eq!(load.failed, 0);
    }

    #[test]
    fn values_have_the_size_and_differ() {
        assert_eq!(value(3, 70_000).len(), VALUE_BYTES);
        assert_ne!(value(3, 36), value(3, 72));
        assert_ne!(value(3, 36), value(4, 36));
    }
}
