//! Network faults between hosts.
//!
//! A packet is dropped where it arrives, before the receiver's routing: the sender sees silence, as with a pulled cable
//! somewhere on the way, and containers behind a host's published ports are cut off with it. The test's own line to each
//! host always works, so that a cut-off host can still be asked questions.

use anyhow::Result;

use super::Lab;

/// The raw table comes before connection tracking and is not used by Docker.
const CHAIN: [&str; 4] = ["--wait", "--table", "raw", "PREROUTING"];

impl Lab {
    /// Cuts the line between two hosts, both ways.
    pub fn cut(&self, one: &str, other: &str) -> Result<()> {
        self.cut_one_way(one, other)?;
        self.cut_one_way(other, one)
    }

    /// Drops what `from` sends to `to`; the other direction still arrives.
    pub fn cut_one_way(&self, from: &str, to: &str) -> Result<()> {
        let source = self.host(from).ip().to_string();
        let [wait, table, raw, chain] = CHAIN;
        let arguments = [wait, table, raw, "--insert", chain, "--source", &source, "--jump", "DROP"];
        self.host(to).exec("iptables", arguments)?.ok().map(drop)
    }

    /// Cuts every line between two groups of hosts.
    pub fn partition(&self, left: &[&str], right: &[&str]) -> Result<()> {
        for one in left {
            for other in right {
                self.cut(one, other)?;
            }
        }
        Ok(())
    }

    /// Cuts a host off from all other hosts.
    pub fn isolate(&self, host: &str) -> Result<()> {
        let others: Vec<&str> = self.hosts().iter().map(super::Host::name).filter(|name| *name != host).collect();
        self.partition(&[host], &others)
    }

    /// Packets that were dropped on all cut lines since they were cut.
    pub fn dropped(&self) -> Result<u64> {
        let [wait, table, raw, chain] = CHAIN;
        let mut sum = 0;
        for host in self.hosts() {
            let arguments = [wait, table, raw, "--list", chain, "--verbose", "--numeric", "--exact"];
            let listed = host.exec("iptables", arguments)?.ok()?;
            let rules = listed.lines().filter(|line| line.contains("DROP"));
            sum += rules.filter_map(|line| line.split_whitespace().next()?.parse::<u64>().ok()).sum::<u64>();
        }
        Ok(sum)
    }

    /// Ends every cut.
    pub fn heal(&self) -> Result<()> {
        let [wait, table, raw, chain] = CHAIN;
        for host in self.hosts() {
            host.exec("iptables", [wait, table, raw, "--flush", chain])?.ok()?;
        }
        Ok(())
    }
}
