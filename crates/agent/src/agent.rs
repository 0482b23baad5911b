//! The agent as a whole: opens the ledger, takes up what it finds, and goes on until it is told to end.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, OptionFuture};
use ring_runtime::{Found, Hint, Runtime, RuntimeError};
use ring_types::NodeInfo;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;

use crate::config::AgentConfig;
use crate::contact::{Contact, since_boot};
use crate::context::{Context, host_boot, pause};
use crate::error::AgentError;
use crate::instances::Instances;
use crate::leave::Leave;
use crate::ledger::Ledger;
use crate::node_info;
use crate::outbox::Outbox;
use crate::session::{Connection, Sessions};
use crate::stats::Sampler;
use crate::usage::{self, Unsent};

/// A stream of hints that ended is opened again after this.
const REOPEN: Duration = Duration::from_secs(1);

/// The node side of ring. Ending it, in whatever way, leaves workloads running.
#[derive(Debug)]
pub struct Agent {
    config: AgentConfig,
    connection: watch::Sender<Connection>,
}

impl Agent {
    /// An agent; nothing happens before [`Agent::run`].
    pub fn new(config: AgentConfig) -> Self {
        Self { config, connection: watch::Sender::default() }
    }

    /// How it stands with the control plane.
    pub fn connection(&self) -> watch::Receiver<Connection> {
        self.connection.subscribe()
    }

    /// Runs until `shutdown` resolves, and, when the node is to be emptied then, until it is empty.
    ///
    /// # Errors
    /// [`AgentError`] when the ledger cannot be opened, the cluster does not want this node any more, or a part of the agent
    /// failed by a fault of its own: then it is to be started again, and takes everything up from the ledger.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), AgentError> {
        let Self { config, connection } = self;
        let (ledger, records) = Ledger::open(&config.data_dir, config.node)?;
        let runtimes: BTreeMap<_, _> = config.runtimes.iter().map(|runtime| (runtime.kind(), Arc::clone(runtime))).collect();
        tracing::info!(node = %config.node, instances = records.len(), runtimes = ?runtimes.keys(), "agent starts");
        let host_boot = host_boot();
        let context = Arc::new(Context {
            node: config.node,
            contact: Contact::open(&config.data_dir, &host_boot, since_boot()),
            host_boot,
            ledger,
            outbox: Outbox::default(),
            stats: Sampler::default(),
            unsent: Unsent::default(),
            leave: Leave::default(),
            runtimes,
            timing: config.timing,
        });
        let stop = CancellationToken::new();
        let _stop_all = stop.clone().drop_guard();
        let (panics, mut panicked) = mpsc::unbounded_channel();
        let instances = Instances::new(Arc::clone(&context), records, stop, panics);
        // Aborted when this future is dropped.
        let mut parts = JoinSet::new();
        for runtime in context.runtimes.values() {
            let (runtime, instances, context) = (Arc::clone(runtime), Arc::clone(&instances), Arc::clone(&context));
            parts.spawn(async move { watch_runtime(&runtime, &instances, &context).await });
        }
        parts.spawn(usage::keep_measuring(Arc::clone(&context), Arc::clone(&instances)));
        let all = Arc::clone(&instances);
        let (leaving, drain) = (Arc::clone(&context), config.drain_on_stop);
        parts.spawn(async move { control(config, context, all, connection).await });
        let told = async {
            shutdown.await;
            if let Some(within) = drain {
                leaving.leave.empty(within).await;
            }
        };
        let result = tokio::select! {
            () = told => Ok(()),
            Some(what) = panicked.recv() => Err(AgentError::Fault(what)),
            Some(part) = parts.join_next() => match part {
                Ok(reason) => Err(AgentError::Dismissed(reason)),
                Err(error) => Err(AgentError::Fault(error.to_string())),
            },
        };
        parts.shutdown().await;
        instances.stop().await;
        tracing::info!(instances = instances.count(), "agent ends; what runs goes on");
        result
    }
}

/// Says what this host is, and talks to control nodes. Returns why the cluster does not want this node any more.
async fn control(
    config: AgentConfig,
    context: Arc<Context>,
    instances: Arc<Instances>,
    connection: watch::Sender<Connection>,
) -> String {
    let (sender, info) = watch::channel::<NodeInfo>(node_info::gather(&config).await);
    let sessions = Sessions::new(config.clone(), context, instances, info, connection);
    tokio::select! {
        why = sessions.run() => why,
        () = node_info::keep_fresh(config, sender) => "the host is not looked at any more".to_owned(),
    }
}

/// Passes the hints of a runtime on, and takes up what it has after every gap. Never returns.
async fn watch_runtime(runtime: &Arc<dyn Runtime>, instances: &Arc<Instances>, context: &Context) -> String {
    let kind = runtime.kind();
    let mut failures = 0;
    let mut listing = None;
    loop {
        let mut hints = runtime.hints();
        loop {
            tokio::select! {
                hint = hints.next() => {
                    let Some(hint) = hint else { break };
                    if hint == Hint::Everything {
                        listing = Some(list_after(Arc::clone(runtime), Duration::ZERO));
                    }
                    instances.hint(kind, hint);
                }
                found = OptionFuture::from(listing.as_mut()), if listing.is_some() => match found {
                    Some(Err(error)) => {
                        failures += 1;
                        tracing::debug!(runtime = %kind, failures, %error, "cannot list what runs");
                        listing = Some(list_after(Arc::clone(runtime), pause(failures, context.timing.retry)));
                    }
                    found => {
                        (failures, listing) = (0, None);
                        instances.adopt(found.and_then(Result::ok).unwrap_or_default());
                    }
                },
            }
        }
        tokio::time::sleep(REOPEN).await;
    }
}

/// Lists what a runtime has.
fn list_after(runtime: Arc<dyn Runtime>, delay: Duration) -> BoxFuture<'static, Result<Vec<Found>, RuntimeError>> {
    Box::pin(async move {
        tokio::time::sleep(delay).await;
        runtime.list().await
    })
}
