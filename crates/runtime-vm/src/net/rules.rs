//! What the host's packet filter is told: the way out, who reaches whom, and what a guest may call itself.
//!
//! With `iptables` (preferred, because engines of containers use it, and what they forbid only a rule in the same place can allow)
//! the rules are in chains of our own, to which one commented jump each leads from `raw PREROUTING`, `filter FORWARD` and
//! `nat POSTROUTING`. With `nft` they are a table of our own. Either way the whole set is replaced at once.
//!
//! | packet | what becomes of it |
//! |---|---|
//! | from a tap, with a source that does not lead back to that tap | dropped |
//! | from a tap to one of the same namespace | accepted |
//! | from a tap to one of another namespace | dropped |
//! | from a tap to a bridge of an engine or of other virtual machines | left to the host's own rules |
//! | from a tap to anywhere else | accepted, with the host's address in place of the guest's |
//! | to a tap, as an answer | accepted |
//! | to a tap, otherwise | dropped: published ports lead through the agent, not through here |
//! | between two interfaces that the host had before it forwarded for us | dropped: the host does not become a router |
//!
//! What a guest sends to the host itself is left to the host's own rules, as engines do it.
//!
//! A firewall of the host's own that is written for `nft` and drops what is forwarded has to let the taps through by itself: in
//! nftables a drop anywhere is final.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use ipnet::Ipv4Net;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::PacketFilter;
use crate::find::program;

/// Bridges of others: whether a guest reaches what is behind them is not ours to allow.
const BRIDGES: [&str; 6] = ["docker0", "docker_gwbridge", "br-", "podman", "cni", "virbr"];

/// Those of [`BRIDGES`] that begin the names of many.
const EXACT: usize = 2;

/// What the rules are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rules {
    /// Beginning of the names of taps; names chains and table, too.
    pub(super) prefix: String,
    /// Every guest's address is in it.
    pub(super) range: Ipv4Net,
    /// Numbers of the namespaces that have guests here.
    pub(super) namespaces: BTreeSet<u16>,
    /// Interfaces between which nothing is forwarded.
    pub(super) guarded: BTreeSet<String>,
}

/// The program by which the packet filter is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    Iptables { iptables: PathBuf, restore: PathBuf },
    Nft(PathBuf),
}

impl Filter {
    /// Those the host has, the one to be used first.
    pub(super) fn all() -> Vec<Self> {
        let iptables = program("iptables").zip(program("iptables-restore"));
        let iptables = iptables.map(|(iptables, restore)| Self::Iptables { iptables, restore });
        iptables.into_iter().chain(program("nft").map(Self::Nft)).collect()
    }

    pub(super) fn kind(&self) -> PacketFilter {
        match self {
            Self::Iptables { .. } => PacketFilter::Iptables,
            Self::Nft(_) => PacketFilter::Nft,
        }
    }

    /// Makes the rules what is said here.
    pub(super) async fn apply(&self, rules: &Rules) -> io::Result<()> {
        match self {
            Self::Iptables { iptables, restore } => {
                let mut missing = Vec::new();
                for jump in rules.jumps() {
                    if !is_there(iptables, &jump).await? {
                        missing.push(jump);
                    }
                }
                feed(restore, &["-w", "5", "--noflush"], &rules.for_iptables(&missing)).await
            }
            Self::Nft(nft) => feed(nft, &["-f", "-"], &rules.for_nft()).await,
        }
    }

    /// Are the rules of before still there? Others may have flushed the whole filter.
    pub(super) async fn in_place(&self, rules: &Rules) -> io::Result<bool> {
        match self {
            Self::Iptables { iptables, .. } => {
                let jumps = rules.jumps();
                let [raw, filter, nat] = jumps.each_ref().map(|jump| is_there(iptables, jump));
                let (raw, filter, nat) = tokio::try_join!(raw, filter, nat)?;
                Ok(raw && filter && nat)
            }
            Self::Nft(nft) => status(nft, &["list", "table", "ip", &rules.table()]).await,
        }
    }

    /// Takes away every rule of ours. None there is no fault.
    pub(super) async fn remove(&self, rules: &Rules) -> io::Result<()> {
        match self {
            Self::Iptables { iptables, .. } => {
                for jump in rules.jumps() {
                    // Each deletes one; a lost answer may have made two.
                    while is_there(iptables, &jump).await? {
                        run(iptables, &jump.arguments("-D")).await?;
                    }
                }
                for (table, chain) in rules.chains() {
                    if status(iptables, &["-w", "5", "-t", table, "-n", "-L", &chain]).await? {
                        run(iptables, &words(&["-w", "5", "-t", table, "-F", &chain])).await?;
                        run(iptables, &words(&["-w", "5", "-t", table, "-X", &chain])).await?;
                    }
                }
                Ok(())
            }
            Self::Nft(nft) => {
                if status(nft, &["list", "table", "ip", &rules.table()]).await? {
                    run(nft, &words(&["delete", "table", "ip", &rules.table()])).await?;
                }
                Ok(())
            }
        }
    }
}

/// The way from a chain of the kernel to one of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Jump {
    table: &'static str,
    from: &'static str,
    to: String,
}

impl Jump {
    fn arguments(&self, verb: &str) -> Vec<String> {
        let comment = ["-m", "comment", "--comment", "ring micro-VMs"];
        [words(&["-w", "5", "-t", self.table, verb, self.from]), words(&comment), words(&["-j", &self.to])].concat()
    }
}

impl Rules {
    fn chain(&self) -> String {
        format!("RING-{}", self.prefix.to_uppercase())
    }

    fn guard(&self) -> String {
        format!("{}-HOST", self.chain())
    }

    fn table(&self) -> String {
        format!("ring_{}", self.prefix)
    }

    fn jumps(&self) -> [Jump; 3] {
        let jump = |table, from| Jump { table, from, to: self.chain() };
        [jump("raw", "PREROUTING"), jump("filter", "FORWARD"), jump("nat", "POSTROUTING")]
    }

    /// In an order in which none is needed by a later one.
    fn chains(&self) -> [(&'static str, String); 4] {
        [("raw", self.chain()), ("filter", self.chain()), ("filter", self.guard()), ("nat", self.chain())]
    }

    /// What every tap's name begins with.
    fn taps(&self) -> String {
        format!("{}-", self.prefix)
    }

    fn taps_of(&self, namespace: u16) -> String {
        format!("{}-{namespace:04x}-", self.prefix)
    }

    /// Input of `iptables-restore --noflush`: naming a chain empties it.
    fn for_iptables(&self, missing: &[Jump]) -> String {
        let (chain, guard, taps) = (self.chain(), self.guard(), self.taps());
        let jump = |table: &str| {
            let lacks = missing.iter().find(|jump| jump.table == table);
            lacks.map(|jump| format!("-I {} -m comment --comment \"ring micro-VMs\" -j {}\n", jump.from, jump.to))
        };
        let mut text = format!("*raw\n:{chain} - [0:0]\n-A {chain} -i {taps}+ -m rpfilter --invert -j DROP\n");
        text.extend(jump("raw"));
        let _ = write!(text, "COMMIT\n*filter\n:{chain} - [0:0]\n:{guard} - [0:0]\n");
        for namespace in &self.namespaces {
            let peers = self.taps_of(*namespace);
            let _ = writeln!(text, "-A {chain} -i {peers}+ -o {peers}+ -j ACCEPT");
        }
        let _ = writeln!(text, "-A {chain} -i {taps}+ -o {taps}+ -j DROP");
        for (number, bridge) in BRIDGES.into_iter().enumerate() {
            let many = if number < EXACT { "" } else { "+" };
            let _ = writeln!(text, "-A {chain} -i {taps}+ -o {bridge}{many} -j RETURN");
        }
        let _ = writeln!(text, "-A {chain} -i {taps}+ -j ACCEPT");
        let _ = writeln!(text, "-A {chain} -o {taps}+ -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT");
        let _ = writeln!(text, "-A {chain} -o {taps}+ -j DROP");
        for interface in self.guarded() {
            let _ = writeln!(text, "-A {chain} -i {interface} -j {guard}\n-A {guard} -o {interface} -j DROP");
        }
        text.extend(jump("filter"));
        let _ = write!(text, "COMMIT\n*nat\n:{chain} - [0:0]\n-A {chain} -s {} ! -o {taps}+ -j MASQUERADE\n", self.range);
        text.extend(jump("nat"));
        text.push_str("COMMIT\n");
        text
    }

    /// Input of `nft -f -`. Adding a table that is there changes nothing, so that it can be deleted for certain.
    fn for_nft(&self) -> String {
        let (table, taps) = (self.table(), self.taps());
        let mut text = format!("add table ip {table}\ndelete table ip {table}\ntable ip {table} {{\n");
        text.push_str("comment \"ring micro-VMs\"\n");
        let _ = writeln!(text, "chain source {{\ntype filter hook prerouting priority raw;");
        let _ = writeln!(text, "iifname \"{taps}*\" fib saddr . iif oif missing drop\n}}");
        let _ = writeln!(text, "chain forward {{\ntype filter hook forward priority filter;");
        for namespace in &self.namespaces {
            let peers = self.taps_of(*namespace);
            let _ = writeln!(text, "iifname \"{peers}*\" oifname \"{peers}*\" accept");
        }
        let _ = writeln!(text, "iifname \"{taps}*\" oifname \"{taps}*\" drop");
        let _ = writeln!(text, "oifname \"{taps}*\" ct state established,related accept\noifname \"{taps}*\" drop");
        let guarded: Vec<_> = self.guarded().map(|name| format!("\"{name}\"")).collect();
        if !guarded.is_empty() {
            let set = guarded.join(", ");
            let _ = writeln!(text, "iifname {{ {set} }} oifname {{ {set} }} drop");
        }
        let _ = writeln!(text, "}}\nchain out {{\ntype nat hook postrouting priority srcnat;");
        let _ = writeln!(text, "ip saddr {} oifname != \"{taps}*\" masquerade\n}}\n}}", self.range);
        text
    }

    /// Names that could be read as anything but a name are left out; no usual interface has one.
    fn guarded(&self) -> impl Iterator<Item = &String> {
        let plain = |name: &&String| name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '@'));
        self.guarded.iter().filter(plain).filter(|name| !name.starts_with('-'))
    }
}

fn words(all: &[&str]) -> Vec<String> {
    all.iter().map(|&word| word.to_owned()).collect()
}

async fn is_there(iptables: &Path, jump: &Jump) -> io::Result<bool> {
    let arguments = jump.arguments("-C");
    status(iptables, &arguments.iter().map(String::as_str).collect::<Vec<_>>()).await
}

async fn status(program: &Path, arguments: &[&str]) -> io::Result<bool> {
    let mut command = quiet(program);
    Ok(command.args(arguments).stderr(Stdio::null()).status().await?.success())
}

async fn run(program: &Path, arguments: &[String]) -> io::Result<()> {
    let output = quiet(program).args(arguments).stderr(Stdio::piped()).output().await?;
    said(program, output.status.success(), &output.stderr)
}

async fn feed(program: &Path, arguments: &[&str], input: &str) -> io::Result<()> {
    let mut child = quiet(program).args(arguments).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read says why at its end.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    let output = child.wait_with_output().await?;
    said(program, output.status.success(), &output.stderr)
}

/// Nothing of the agent's environment goes along but where programs are.
fn quiet(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    command
}

fn said(program: &Path, success: bool, stderr: &[u8]) -> io::Result<()> {
    if success {
        return Ok(());
    }
    let why = String::from_utf8_lossy(stderr);
    Err(io::Error::other(format!("{}: {}", program.display(), why.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules {
            prefix: "rvm".to_owned(),
            range: "10.214.0.0/16".parse().expect("a network"),
            namespaces: BTreeSet::from([1, 10]),
            guarded: BTreeSet::from(["eth0".to_owned(), "we\"ird".to_owned()]),
        }
    }

    #[test]
    fn peers_come_before_strangers_and_only_missing_jumps_are_made() {
        let rules = rules();
        let text = rules.for_iptables(&rules.jumps()[1..2]);
        let at = |line: &str| text.find(line).unwrap_or_else(|| panic!("{line} is not in {text}"));
        let strangers = at("-A RING-RVM -i rvm-+ -o rvm-+ -j DROP");
        assert!(at("-A RING-RVM -i rvm-0001-+ -o rvm-0001-+ -j ACCEPT") < strangers);
        assert!(at("-A RING-RVM -i rvm-000a-+ -o rvm-000a-+ -j ACCEPT") < strangers);
        assert!(at("-A RING-RVM -i rvm-+ -o br-+ -j RETURN") < at("-A RING-RVM -i rvm-+ -j ACCEPT"));
        assert!(at("-A RING-RVM-HOST -o eth0 -j DROP") > strangers);
        assert!(!text.contains("weird") && !text.contains("we\"ird"));
        assert_eq!(text.matches("-I ").count(), 1);
        at("-I FORWARD -m comment --comment \"ring micro-VMs\" -j RING-RVM");
    }

    #[test]
    fn an_nft_table_is_replaced_whole() {
        let text = rules().for_nft();
        assert!(text.starts_with("add table ip ring_rvm\ndelete table ip ring_rvm\ntable ip ring_rvm {\n"), "{text}");
        assert!(text.contains("iifname { \"eth0\" } oifname { \"eth0\" } drop"), "{text}");
        assert_eq!(text.matches('{').count(), text.matches('}').count());
    }
}
