//! Faults of a host itself: its clock jumps, its Docker daemon is frozen, restarted or killed.

use anyhow::{Context, Result, ensure};
use rand::Rng;
use ring_testkit::lab::Docker;
use ring_testkit::sweep;
use ring_testkit::wait;
use ring_testkit::work::{IN_TIME, Runtime, job, new_key, on};

use crate::clock::{JUMP, dated, seconds, set_clock};
use crate::inject::Faults;
use crate::load::Load;

/// A time that is off by so much was given by a clock that jumped.
const FELT: i64 = JUMP / 2;

impl<'a> Faults<'a> {
    /// Ahead, entries are dated so; then behind, and right again: the cluster's time goes on from where it was.
    pub(crate) fn leader_clock(&mut self) -> Result<bool> {
        let node = self.cluster.control(self.cluster.leader()?).name();
        let mut told = vec![self.dated()?];
        for off in [JUMP, -JUMP, 0] {
            set_clock(self.lab, node, off)?;
            let dated = self.dated();
            self.hold();
            told.push(dated.inspect_err(|_| drop(set_clock(self.lab, node, 0)))?);
        }
        ensure!(told.is_sorted_by_key(|(at, _)| *at), "the cluster's time went back: {told:?}");
        Ok(told[1].1 > FELT)
    }

    fn dated(&self) -> Result<(i64, i64)> {
        dated(self.cluster, &format!("clock-{}", &new_key()[..13]))
    }

    /// A job is run under the other clock; what the agent logs of it is dated by that.
    pub(crate) fn agent_clock(&mut self) -> Result<bool> {
        let by = if self.rng.random_range(0..2) == 0 { JUMP } else { -JUMP };
        let agent = self.some_agent();
        let node = self.cluster.agent(agent).name();
        set_clock(self.lab, node, by)?;
        let one = on(job(&format!("clock-{}", &new_key()[..13]), Runtime::Process, "exit 5"), node);
        let ended = self.cluster.apply_one(one).and_then(|id| self.cluster.wait_final(&id));
        self.hold();
        let said = self.cluster.agent(agent).tail();
        set_clock(self.lab, node, 0)?;
        let exit = &ended?["exit_status"];
        ensure!(exit["code"] == 5, "it ended with {exit}");
        let latest = said.lines().rev().find_map(|line| seconds(&line.split(' ').next()?.into()).ok());
        let (_, off) = latest.context("the agent has logged nothing")?;
        Ok(off.abs() > FELT && off.signum() == by.signum())
    }

    fn some_docker(&mut self) -> &'a Docker {
        let agent = self.some_agent();
        self.lab.docker(self.cluster.agent(agent).name())
    }

    pub(crate) fn freeze_docker(&mut self) -> Result<bool> {
        let docker = self.some_docker();
        let pid = docker.pid().context("the daemon does not run")?;
        docker.pause()?;
        let frozen = wait::until(IN_TIME, "the stopped state", || sweep::state(pid) == Some('T'));
        self.hold();
        docker.resume()?;
        frozen.map(|()| true)
    }

    pub(crate) fn restart_docker(&mut self, load: &Load<'_>) -> Result<bool> {
        let docker = self.some_docker();
        let before = docker.pid();
        let quiet = self.nothing_starts_in_docker(load)?;
        docker.stop()?;
        drop(quiet);
        self.hold();
        docker.up()?;
        Ok(docker.pid() != before)
    }

    pub(crate) fn kill_docker(&mut self, load: &Load<'_>) -> Result<bool> {
        let docker = self.some_docker();
        let pid = docker.pid().context("the daemon does not run")?;
        let quiet = self.nothing_starts_in_docker(load)?;
        docker.kill9()?;
        drop(quiet);
        let dead = matches!(sweep::state(pid), None | Some('Z' | 'X'));
        self.hold();
        docker.up()?;
        Ok(dead)
    }

    /// No client sends anything, and no job is about to start in Docker: of a container that its daemon was starting when it
    /// ended, the daemon itself may know nothing afterwards.
    fn nothing_starts_in_docker<'l>(&self, load: &'l Load<'_>) -> Result<impl Drop + use<'l>> {
        let quiet = load.silence();
        wait::eventually(IN_TIME, "every container to have started", || {
            let all = self.cluster.get_any("/deployments")?;
            let all = all.as_array().context("no list of deployments")?;
            let open = all.iter().filter(|one| one["runtime"] == "docker");
            let starting = open.filter(|one| !matches!(one["status"].as_str(), Some("running" | "completed" | "failed")));
            Ok((starting.count() == 0).then_some(()))
        })?;
        Ok(quiet)
    }
}
