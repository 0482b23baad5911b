//! The clock and the queue of what happens next.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use ring_types::{InstanceId, Span};

use super::agent::Agent;
use super::check::Checks;
use super::clients::Clients;
use super::control::{Control, Proposal};
use super::host::Hosts;
use super::network::{ToAgent, ToControl};
use super::rng::Rng;

/// Nodes that run work.
const NODES: usize = 4;
/// In an ordinary history faults and clients act for so long.
const CHAOS: Span = Span::seconds(60);
/// Then everything has to heal within so long.
const HEALING: i64 = 240_000;
/// Lines of the history shown with a violation.
const TRACE: usize = 80;

/// What to simulate.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The history.
    pub seed: u64,
    /// A fault built in on purpose, which has to be found.
    pub mutation: Option<Mutation>,
    /// Faults and clients act for so long, by the clock of the simulation.
    pub chaos: Span,
    /// From one fault to the next, and from one request to the next, it takes so many times as long as in an ordinary history,
    /// where there is a fault every two seconds.
    pub pace: u64,
}

impl Options {
    /// An ordinary history.
    pub fn of(seed: u64) -> Self {
        Self { seed, mutation: None, chaos: CHAOS, pace: 1 }
    }
}

/// Faults built in on purpose, to prove that the simulation can find faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// An agent starts an instance before its claim is committed.
    StartBeforeClaim,
    /// An agent takes a report for committed when it is sent.
    AckOnSend,
    /// An agent records 0 for an end it does not know.
    GuessExit,
    /// An agent believes whatever generation it is told.
    BelieveAnyGeneration,
    /// The agent's ledger is lost with every crash, and it does not say so.
    NoLedger,
    /// What serves is told to give way although nothing serves in its place, and the state lets it.
    GiveWayUnready,
    /// A rolling update makes two instances where it may make one, and the state lets it.
    TooManyAtOnce,
    /// A rolling update counts as completed with its first ready instance.
    CompleteEarly,
    /// The leader does not look after the end of a rolling update.
    NeverOver,
    /// The leader makes instances without what they depend on.
    DependenciesForgotten,
    /// The load of a deployment leads beyond its bounds, and the state lets it.
    ScaleBeyondBounds,
    /// An agent that is cut off lets run what it is to stop.
    RunOnCutOff,
}

/// What a history had in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Entries committed.
    pub entries: u64,
    /// Processes started.
    pub starts: u64,
    /// Elections.
    pub elections: u64,
    /// Crashes of agents and hosts.
    pub crashes: u64,
    /// Nodes declared lost.
    pub lost: u64,
    /// Attempts of jobs after the first.
    pub retries: u64,
    /// Jobs that ended because their time was over.
    pub timeouts: u64,
    /// Rolling updates that took their parent's place.
    pub updated: u64,
    /// Rolling updates that came to nothing.
    pub update_failed: u64,
    /// Changes of scale that the load led to.
    pub scaled: u64,
    /// Instances that were told to end because their node was to be empty.
    pub drained: u64,
    /// Instances that moved for an even spread.
    pub moved: u64,
    /// Instances of those that do not run without contact that were given up.
    pub given_up: u64,
    /// Instances that an agent stopped since it was cut off.
    pub cut_off: u64,
    /// Deployments that were made to wait, and began when what they depend on was there.
    pub released: u64,
}

/// A promise was broken.
#[derive(Clone, Debug)]
pub struct Violation {
    /// The history it happened in.
    pub seed: u64,
    /// What.
    pub what: String,
    /// What went before.
    pub trace: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.trace {
            writeln!(f, "  {line}")?;
        }
        write!(f, "seed {}: {}", self.seed, self.what)
    }
}

impl std::error::Error for Violation {}

/// Something that happens.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Client,
    Fault,
    EndDrains,
    AgentTurn(usize),
    AgentStarts(usize),
    Rejoin(usize),
    Prepared { node: usize, life: u64, instance: InstanceId },
    ProcessEnds { node: usize, instance: InstanceId },
    Probe { node: usize, instance: InstanceId },
    ToControl { node: usize, session: u64, message: ToControl },
    ToAgent { node: usize, session: u64, message: ToAgent },
    Commit(Proposal),
    Answer(Proposal, ring_state::Reply),
    NoAnswer(Proposal),
    Elect,
    CatchUp { member: usize, revision: usize },
    Lead { term: u64 },
    Leases { term: u64 },
    Scale { term: u64 },
}

/// The simulated cluster.
pub(crate) struct Sim {
    pub(crate) options: Options,
    pub(crate) rng: Rng,
    pub(crate) now: i64,
    pub(crate) chaos: bool,
    /// Its leaders do not crash: what takes longer than most of them lead comes about too.
    pub(crate) steady: bool,
    pub(crate) control: Control,
    pub(crate) agents: Vec<Agent>,
    pub(crate) hosts: Hosts,
    pub(crate) clients: Clients,
    pub(crate) checks: Checks,
    pub(crate) summary: Summary,
    queue: BTreeMap<(i64, u64), Box<Event>>,
    sequence: u64,
    /// Lines are remembered: of a history that keeps its promises nobody reads them.
    traced: bool,
    trace: VecDeque<String>,
}

/// Simulates one history.
///
/// # Errors
/// [`Violation`] when a promise was broken in it.
pub fn run(options: Options) -> Result<Summary, Box<Violation>> {
    let mut sim = Sim::new(options, false);
    if sim.live().is_ok() {
        return Ok(sim.summary);
    }
    // The same seed is the same history, and this time it is told.
    let mut sim = Sim::new(options, true);
    match sim.live() {
        Ok(()) => Ok(sim.summary),
        Err(what) => Err(Box::new(Violation { seed: options.seed, what, trace: sim.trace.into_iter().collect() })),
    }
}

impl Sim {
    fn new(options: Options, traced: bool) -> Self {
        let mut rng = Rng::new(options.seed);
        let agents: Vec<_> = (0..NODES).map(|index| Agent::new(index, &mut rng)).collect();
        let mut sim = Self {
            options,
            steady: rng.chance(30),
            rng,
            now: 1_000_000,
            chaos: true,
            control: Control::new(),
            agents,
            hosts: Hosts::default(),
            clients: Clients::default(),
            checks: Checks::default(),
            summary: Summary::default(),
            queue: BTreeMap::new(),
            sequence: 0,
            traced,
            trace: VecDeque::new(),
        };
        sim.raise_level();
        for index in 0..NODES {
            sim.enrol(index);
            sim.after(index as u64 * 7, Event::AgentTurn(index));
        }
        sim.after(1, Event::Elect);
        sim.after(20, Event::Client);
        sim.after(500, Event::Fault);
        sim
    }

    fn live(&mut self) -> Result<(), String> {
        let begun = self.now;
        self.advance(begun + self.options.chaos.0 as i64)?;
        self.end_chaos();
        self.heals()?;
        // Whole as it is now, what moves has nothing in its way.
        self.end_drains();
        self.heals()?;
        self.spreads_out();
        self.heals()
    }

    fn heals(&mut self) -> Result<(), String> {
        let deadline = self.now + HEALING;
        loop {
            let next = self.now + 1000;
            self.advance(next)?;
            match self.unhealed() {
                None => return Ok(()),
                Some(what) if self.now >= deadline => return Err(format!("does not heal: {what}")),
                Some(_) => {}
            }
        }
    }

    fn advance(&mut self, until: i64) -> Result<(), String> {
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > until {
                break;
            }
            let ((at, _), event) = entry.remove_entry();
            self.now = at;
            self.happen(*event)?;
        }
        self.now = until;
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Client => self.client_acts(),
            Event::EndDrains => self.end_drains(),
            Event::Fault => self.fault(),
            Event::AgentTurn(node) => self.agent_turn(node)?,
            Event::AgentStarts(node) => self.agent_starts(node),
            Event::Rejoin(node) => self.rejoin(node),
            Event::Prepared { node, life, instance } => self.prepared(node, life, instance),
            Event::ProcessEnds { node, instance } => self.process_ends(node, instance),
            Event::Probe { node, instance } => self.probe(node, instance),
            Event::ToControl { node, session, message } => self.control_hears(node, session, message),
            Event::ToAgent { node, session, message } => self.agent_hears(node, session, message)?,
            Event::Commit(proposal) => self.commit(proposal)?,
            Event::Answer(proposal, reply) => self.answered(proposal, reply),
            Event::NoAnswer(proposal) => self.not_answered(proposal),
            Event::Elect => self.elect(),
            Event::CatchUp { member, revision } => self.catch_up(member, revision),
            Event::Lead { term } => self.lead(term),
            Event::Leases { term } => self.judge(term),
            Event::Scale { term } => self.scale(term),
        }
        Ok(())
    }

    /// Has something happen after so many milliseconds.
    pub(crate) fn after(&mut self, delay: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now + delay as i64, self.sequence), Box::new(event));
    }

    /// Remembers a line of the history.
    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        if !self.traced {
            return;
        }
        if self.trace.len() >= TRACE {
            self.trace.pop_front();
        }
        let line = format!("{:>8} {}", self.now - 1_000_000, line());
        self.trace.push_back(line);
    }

    /// Is a fault built in?
    pub(crate) fn mutated(&self, mutation: Mutation) -> bool {
        self.options.mutation == Some(mutation)
    }
}
