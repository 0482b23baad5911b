//! Makes faults, and ends them. A fault counts only when its effect was seen.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand::Rng;
use rand::rngs::StdRng;
use ring_testkit::flags::Role;
use ring_testkit::lab::{AilingDisk, Lab, SlowLine, SmallDisk};
use ring_testkit::work::{IN_TIME, NAMESPACE, new_key};
use ring_testkit::{Cluster, RingNode, sweep, wait};
use serde_json::{Value, json};

use crate::kinds::Kind;
use crate::load::Load;

/// The faults of one run.
pub(crate) struct Faults<'a> {
    pub(crate) lab: &'a Lab,
    pub(crate) cluster: &'a Cluster,
    /// Under the last control node.
    pub(crate) small: &'a SmallDisk,
    /// Under the second control node.
    pub(crate) ailing: &'a AilingDisk,
    /// The kinds of this run.
    pub(crate) chosen: Vec<Kind>,
    pub(crate) rng: StdRng,
    /// How often each kind was seen to have its effect.
    pub(crate) effects: BTreeMap<Kind, usize>,
}

impl Faults<'_> {
    /// Makes one fault, holds it for a while, and ends it.
    pub(crate) fn inject(&mut self, kind: Kind, load: &Load<'_>) -> Result<()> {
        let felt = match kind {
            Kind::KillControl => {
                let one = self.some_control();
                self.kill(&[self.cluster.control(one)])
            }
            Kind::KillLeader => self.kill(&[self.cluster.control(self.cluster.leader()?)]),
            Kind::KillAll => self.kill(&self.cluster.controls().iter().collect::<Vec<_>>()),
            Kind::KillAgent => {
                let one = self.some_agent();
                self.kill(&[self.cluster.agent(one)])
            }
            Kind::RestartAgent => self.restart_agent(),
            Kind::FreezeControl => {
                let one = self.some_control();
                self.freeze(self.cluster.control(one))
            }
            Kind::FreezeLeader => self.freeze(self.cluster.control(self.cluster.leader()?)),
            Kind::FreezeAgent => {
                let one = self.some_agent();
                self.freeze(self.cluster.agent(one))
            }
            Kind::CutOffLeader => {
                let leader = self.cluster.control(self.cluster.leader()?).name();
                self.cut(|lab| lab.isolate(leader))
            }
            Kind::CutOneWay => self.cut_one_way(),
            Kind::CutLink => {
                // Between two others there is nothing to drop.
                let one = self.cluster.leader()?;
                let (one, other) = self.with_another(one);
                self.cut(|lab| lab.cut(one, other))
            }
            Kind::CutOffAgent => {
                let one = self.some_agent();
                let name = self.cluster.agent(one).name();
                self.cut(|lab| lab.isolate(name))
            }
            Kind::Slow => self.slow(),
            Kind::Stall => self.stall(),
            Kind::Transfer => self.transfer(),
            Kind::Replace => self.replace(),
            Kind::FullDisk => self.full_disk(),
            Kind::PowerLoss => self.power_loss(),
            Kind::FailingSync => self.failing_sync(),
            Kind::SlowDisk => Ok(self.slow_disk()),
            Kind::LeaderClock => self.leader_clock(),
            Kind::AgentClock => self.agent_clock(),
            Kind::FreezeDocker => self.freeze_docker(),
            Kind::RestartDocker => self.restart_docker(load),
            Kind::KillDocker => self.kill_docker(load),
        };
        let felt = felt.with_context(|| format!("{kind:?}"))?;
        *self.effects.entry(kind).or_default() += usize::from(felt);
        Ok(())
    }

    fn some_control(&mut self) -> usize {
        self.rng.random_range(0..self.cluster.controls().len())
    }

    pub(crate) fn some_agent(&mut self) -> usize {
        self.rng.random_range(0..self.cluster.agents().len())
    }

    /// The names of a control node and of another one.
    fn with_another(&mut self, one: usize) -> (&'static str, &'static str) {
        let names = crate::run::CONTROLS;
        (names[one], names[(one + self.rng.random_range(1..3)) % 3])
    }

    /// The fault lasts.
    pub(crate) fn hold(&mut self) {
        thread::sleep(Duration::from_millis(self.rng.random_range(1000..3500)));
    }

    fn kill(&mut self, nodes: &[&RingNode]) -> Result<bool> {
        let pids: Vec<i32> = nodes.iter().filter_map(|node| node.pid()).collect();
        for node in nodes {
            node.kill9()?;
        }
        let dead = pids.len() == nodes.len() && pids.iter().all(|&pid| matches!(sweep::state(pid), None | Some('Z' | 'X')));
        self.hold();
        for node in nodes {
            node.start()?;
        }
        Ok(dead)
    }

    fn restart_agent(&mut self) -> Result<bool> {
        let one = self.some_agent();
        let (agent, before) = (self.cluster.agent(one), self.cluster.agent(one).pid());
        agent.stop()?;
        agent.start()?;
        Ok(agent.pid() != before)
    }

    fn freeze(&mut self, node: &RingNode) -> Result<bool> {
        let pid = node.pid().context("it does not run")?;
        node.pause()?;
        wait::until(IN_TIME, "the stopped state", || sweep::state(pid) == Some('T'))?;
        self.hold();
        let still = sweep::state(pid) == Some('T');
        node.resume()?;
        Ok(still)
    }

    fn cut(&mut self, cut: impl FnOnce(&Lab) -> Result<()>) -> Result<bool> {
        let cut = cut(self.lab);
        self.hold();
        let dropped = self.lab.dropped();
        self.lab.heal()?;
        cut.and(dropped).map(|dropped| dropped > 0)
    }

    fn cut_one_way(&mut self) -> Result<bool> {
        let one = self.some_control();
        let [one, first, second] = [0, 1, 2].map(|n| self.cluster.control((one + n) % 3).name());
        let outward = self.rng.random_range(0..2) == 0;
        self.cut(|lab| {
            for other in [first, second] {
                let (from, to) = if outward { (one, other) } else { (other, one) };
                lab.cut_one_way(from, to)?;
            }
            Ok(())
        })
    }

    /// Both lines of the leader, both ways.
    fn slow(&mut self) -> Result<bool> {
        let delay = Duration::from_millis(self.rng.random_range(50..400));
        let leader = self.cluster.leader()?;
        let mut lines = Vec::new();
        for other in (0..3).filter(|&other| other != leader) {
            for (from, to) in [(leader, other), (other, leader)] {
                let to = self.cluster.control(to);
                let port = to.cluster_address().port();
                lines.push(self.lab.slow(self.cluster.control(from).name(), to.name(), port, delay)?);
            }
        }
        self.hold();
        let held: u64 = lines.iter().map(SlowLine::held).sum();
        lines.into_iter().try_for_each(SlowLine::heal)?;
        Ok(held > 0)
    }

    fn stall(&mut self) -> Result<bool> {
        let leader = self.cluster.leader()?;
        let to = self.cluster.control((leader + self.rng.random_range(1..3)) % 3);
        let from = self.cluster.control(leader).name();
        let line = self.lab.stall(from, to.name(), to.cluster_address().port())?;
        self.hold();
        let held = line.held();
        line.heal()?;
        Ok(held > 0)
    }

    fn transfer(&mut self) -> Result<bool> {
        let leader = self.cluster.leader()?;
        let to = (leader + self.rng.random_range(1..3)) % 3;
        let id = self.member_id(self.cluster.control(to).name())?;
        let answer = self.cluster.post(leader, "/cluster/transfer-leader", &json!({ "to": id }), &new_key())?;
        ensure!(answer.status < 300, "status {}: {}", answer.status, answer.body);
        let now = self.cluster.leader_after(leader)?;
        Ok(now == to)
    }

    fn member_id(&self, name: &str) -> Result<u64> {
        let members = self.cluster.get_any("/cluster/members")?;
        let member = members.as_array().into_iter().flatten().find(|member| member["name"] == name);
        member.and_then(|member| member["id"].as_u64()).with_context(|| format!("{name} is not among {members}"))
    }

    /// Takes a control node out, empties its directory and lets it join as a new one.
    fn replace(&mut self) -> Result<bool> {
        let one = self.some_control();
        let (node, other) = (self.cluster.control(one), (one + 1) % 3);
        let before = self.member_id(node.name())?;
        self.cluster.cli_to(other).ok(["cluster", "remove", node.name()])?;
        node.wait_exit(IN_TIME)?;
        self.hold();
        emptied(node)?;
        let members: Vec<_> = [1, 2].map(|n| self.cluster.control((one + n) % 3).cluster_address()).to_vec();
        node.join(&members, &self.cluster.join_token(Role::Control)?)?;
        node.wait_ready()?;
        self.cluster.wait_voters()?;
        Ok(self.member_id(node.name())? > before)
    }

    /// Fills the disk of the last control node and writes until that node ends by itself.
    fn full_disk(&mut self) -> Result<bool> {
        let node = self.cluster.control(2);
        self.small.fill()?;
        let body = json!({ "namespace": NAMESPACE, "name": "ballast", "data": { "k": "x".repeat(1_500_000) } });
        let key = new_key();
        let made = wait::eventually(IN_TIME, "a config of a good size", || {
            let answer = self.cluster.post(0, "/configs", &body, &key)?;
            ensure!(answer.status < 300, "status {}: {}", answer.status, answer.body);
            Ok(Some(answer.json()?))
        });
        // What the store had set aside for itself is used up first.
        let ended = made.and_then(|made| {
            let id = made["id"].as_str().context("no id")?.to_owned();
            let ended = wait::eventually(IN_TIME, "the node with the full disk to end", || {
                self.write_more(&id, &body);
                node.exited()
            });
            self.forget(&id)?;
            ended
        });
        self.small.free()?;
        let ended = ended?;
        let said = node.tail().to_lowercase();
        ensure!(said.contains("no space left") || said.contains("disk is full"), "it ended with {ended} and said: {said}");
        node.start()?;
        Ok(!ended.success())
    }

    fn power_loss(&mut self) -> Result<bool> {
        let node = self.cluster.control(1);
        node.kill9()?;
        let torn = self.rng.random_range(0..2) == 0;
        let lost = self.ailing.lose_power(torn.then_some(&mut self.rng));
        self.hold();
        node.start()?;
        Ok(lost.bytes > 0)
    }

    /// The node ends by itself and says why.
    fn failing_sync(&mut self) -> Result<bool> {
        let (node, before) = (self.cluster.control(1), self.ailing.failed());
        self.ailing.fail_syncs(true);
        let ended = wait::eventually(IN_TIME, "the node whose disk fails to end", || node.exited());
        self.ailing.fail_syncs(false);
        let (ended, said) = (ended?, node.tail());
        ensure!(said.contains("cannot sync"), "it ended with {ended} and said: {said}");
        node.start()?;
        Ok(!ended.success() && self.ailing.failed() > before)
    }

    fn slow_disk(&mut self) -> bool {
        let before = self.ailing.delayed();
        self.ailing.slow_syncs(Duration::from_millis(self.rng.random_range(50..800)));
        self.hold();
        self.ailing.slow_syncs(Duration::ZERO);
        self.ailing.delayed() > before
    }

    fn write_more(&self, id: &str, body: &Value) {
        let node = self.cluster.control(0);
        let request = node.http("PUT", &format!("/configs/{id}")).bearer(self.cluster.token()).json(body);
        // Whether it is taken does not matter: it is only weight.
        let _ = request.timeout(Duration::from_secs(10)).send();
    }

    fn forget(&self, id: &str) -> Result<()> {
        wait::eventually(IN_TIME, "the weight to be deleted", || {
            let answer = self.cluster.control(1).http("DELETE", &format!("/configs/{id}")).bearer(self.cluster.token()).send()?;
            ensure!(answer.status < 300 || answer.status == 404, "status {}: {}", answer.status, answer.body);
            Ok(Some(()))
        })
    }
}

/// Removes everything in the data directory of a node, which may be a mount.
pub(crate) fn emptied(node: &RingNode) -> Result<()> {
    for entry in fs::read_dir(node.data_dir())? {
        let path = entry?.path();
        if path.is_dir() { fs::remove_dir_all(&path)? } else { fs::remove_file(&path)? }
    }
    Ok(())
}
