//! Facts of the machine the figures were measured on.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Instant;

use anyhow::Result;

use crate::stats::{Times, ms};

/// Synced writes the disk is judged by.
const SYNCS: usize = 300;

/// What a reader has to know beside the figures.
#[derive(Debug)]
pub struct Machine {
    cpu: String,
    cores: usize,
    memory_gib: f64,
    kernel: String,
    directory: String,
    sync: Times,
    load_at_start: String,
}

impl Machine {
    /// Looks at this machine and measures the disk the clusters will write to.
    pub fn look() -> Result<Self> {
        let directory = std::env::temp_dir();
        Ok(Self {
            cpu: field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned()),
            cores: std::thread::available_parallelism()?.get(),
            memory_gib: memory_gib(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            sync: sync_times(&directory)?,
            directory: directory.display().to_string(),
            load_at_start: load()?,
        })
    }

    /// A few lines of text.
    pub fn describe(&self) -> Result<String> {
        let Self { cpu, cores, memory_gib, kernel, directory, sync, load_at_start } = self;
        Ok(format!(
            "machine: {cores} cores ({cpu}), {memory_gib:.0} GiB, Linux {kernel}\n\
             disk: {directory}, 512 bytes and fdatasync: median {}, p99 {} of {SYNCS}\n\
             load average (1, 5, 15 min): {load_at_start} at the start, {} at the end",
            ms(sync.median()),
            ms(sync.percentile(99.0)),
            load()?
        ))
    }
}

/// Times of appending a small record and making it durable: what every commit waits for at least once.
fn sync_times(directory: &Path) -> Result<Times> {
    let mut file = tempfile::tempfile_in(directory)?;
    // As a log that reuses its space: no new blocks, so the time is that of the data alone.
    file.write_all(&vec![0; 512 * SYNCS])?;
    file.sync_all()?;
    file.seek(SeekFrom::Start(0))?;
    let times = (0..SYNCS).map(|_| sync_once(&mut file)).collect::<Result<_>>()?;
    Ok(Times::new(times))
}

fn sync_once(file: &mut File) -> Result<std::time::Duration> {
    let start = Instant::now();
    file.write_all(&[1; 512])?;
    file.sync_data()?;
    Ok(start.elapsed())
}

fn load() -> Result<String> {
    Ok(fs::read_to_string("/proc/loadavg")?.split(' ').take(3).collect::<Vec<_>>().join(" "))
}

fn memory_gib() -> f64 {
    let kib = field("/proc/meminfo", "MemTotal").and_then(|text| text.trim_end_matches(" kB").parse::<f64>().ok());
    kib.unwrap_or_default() / 1024.0 / 1024.0
}

/// The first `name: value` of a file under `/proc`.
fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_described() {
        let text = Machine::look().unwrap().describe().unwrap();
        assert!(text.contains("cores") && text.contains("fdatasync: median"), "{text}");
        assert!(memory_gib() > 0.1);
    }
}
