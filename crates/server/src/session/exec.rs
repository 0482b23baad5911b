//! Commands run in an instance, wherever its agent has its session.
//!
//! Both windows, of output and of input, reach from whoever asked to the agent: what is between them passes on what it is told and
//! keeps no more than the windows let through.

use ring_proto::agent::v1::control_message::Message;
use ring_proto::agent::v1::exec_input::Event as Input;
use ring_proto::agent::v1::exec_output::Event as Output;
use ring_proto::agent::v1::{ExecInput, ExecOutput, ExecStart, LogCredit, StreamEnd};
use ring_proto::cluster::v1::{ExecOpen, ExecRequest, exec_request};
use ring_types::NodeId;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::Hub;
use super::ask::{AskError, FORWARDED, PATIENCE, within};
use super::hub::{Item, StreamGuard};
use super::locate::Locator;
use crate::services::Peers;

/// Messages of input a command's agent lets through at once; one that lets more is believed so much.
const INPUT_WINDOW: u32 = 32;
/// Requests to another control node that wait to be sent.
const REQUESTS: usize = 8;

/// Runs commands on any node of the cluster.
#[derive(Clone)]
pub struct Execs {
    hub: Hub,
    locator: Locator,
}

/// A command that was begun. Dropping both parts ends it.
pub struct RunningExec {
    /// What comes from it.
    pub events: ExecEvents,
    /// What goes to it.
    pub input: ExecFeed,
    /// Messages of input it takes before it has said that it took any.
    pub input_window: u32,
}

/// What comes from a command.
pub struct ExecEvents {
    items: mpsc::Receiver<Item>,
}

/// The way to a command.
pub struct ExecFeed {
    way: Way,
}

enum Way {
    Local(StreamGuard),
    Remote(mpsc::Sender<ExecRequest>),
}

/// Places for what is not counted: the begin, the code, the end; and for each input that was taken.
fn room(window: u32) -> usize {
    (window + INPUT_WINDOW) as usize + 4
}

impl ExecEvents {
    /// The next one; None after the end.
    pub async fn next(&mut self) -> Option<Result<Output, AskError>> {
        match self.items.recv().await {
            Some(Item::Exec(event)) => Some(Ok(event)),
            Some(Item::End(end)) => ended(end).map(Err),
            Some(Item::Lines(_)) => Some(Err(AskError::Refused("its agent is of another release".to_owned()))),
            None => Some(Err(AskError::Interrupted("the session of its node ended".to_owned()))),
        }
    }
}

fn ended(end: StreamEnd) -> Option<AskError> {
    match (end.not_found, end.error.is_empty()) {
        (true, _) => Some(AskError::NotFound),
        (false, false) => Some(AskError::Refused(end.error)),
        (false, true) => None,
    }
}

impl ExecFeed {
    /// Gives it input, the end of it, or another size of its terminal. For one that is over it goes nowhere: its events say how it
    /// ended, and what came before that.
    ///
    /// # Errors
    /// [`AskError::Interrupted`] when the session of its node takes nothing any more.
    pub async fn give(&self, event: Input) -> Result<(), AskError> {
        let input = |stream| ExecInput { stream, event: Some(event) };
        match &self.way {
            Way::Local(guard) => Ok(guard.tell(|stream| Message::ExecInput(input(stream))).await?),
            Way::Remote(to) => {
                pass(to, exec_request::Message::Input(input(0))).await;
                Ok(())
            }
        }
    }

    /// So much of its output was taken.
    ///
    /// # Errors
    /// Those of [`Self::give`].
    pub async fn took(&self, messages: u32) -> Result<(), AskError> {
        let credit = |stream| LogCredit { stream, messages };
        match &self.way {
            Way::Local(guard) => Ok(guard.tell(|stream| Message::LogCredit(credit(stream))).await?),
            Way::Remote(to) => {
                pass(to, exec_request::Message::Credit(credit(0))).await;
                Ok(())
            }
        }
    }
}

/// To the control node that has the session of its node. When that has ended the request, the events end too.
async fn pass(to: &mpsc::Sender<ExecRequest>, message: exec_request::Message) {
    let _ = to.send(request(message)).await;
}

fn request(message: exec_request::Message) -> ExecRequest {
    ExecRequest { message: Some(message) }
}

impl Hub {
    /// Has the agent of `node` run a command. Its first event says that it was begun.
    ///
    /// # Errors
    /// [`AskError::NotConnected`] when its session is not here.
    pub fn open_exec(&self, node: NodeId, start: ExecStart) -> Result<(ExecEvents, ExecFeed), AskError> {
        let room = room(start.window);
        let (items, guard) = self.open(node, room, |stream| Message::ExecStart(ExecStart { stream, ..start }))?;
        Ok((ExecEvents { items }, ExecFeed { way: Way::Local(guard) }))
    }
}

impl Execs {
    /// Looks in the sessions here first, then asks the other control nodes.
    pub fn new(hub: Hub, peers: Peers) -> Self {
        Self { hub, locator: Locator::new(peers) }
    }

    /// Runs a command in an instance that is on `node`, and returns when it has begun.
    ///
    /// # Errors
    /// [`AskError`] when its node cannot be asked, or cannot run it. After [`AskError::Interrupted`] and [`AskError::TimedOut`] it
    /// may have been run.
    pub async fn run(&self, node: NodeId, start: ExecStart) -> Result<RunningExec, AskError> {
        let beginning = async {
            let (mut events, input) =
                if self.hub.connected(node) { self.hub.open_exec(node, start)? } else { self.forward(node, start).await? };
            let none = || AskError::Refused("nothing: it ended before it began".to_owned());
            match events.next().await.ok_or_else(none)?? {
                Output::Started(started) => {
                    Ok(RunningExec { events, input, input_window: started.input_window.min(INPUT_WINDOW) })
                }
                _ => Err(AskError::Refused("something else than that the command has begun".to_owned())),
            }
        };
        within(PATIENCE + FORWARDED, beginning).await
    }

    async fn forward(&self, node: NodeId, start: ExecStart) -> Result<(ExecEvents, ExecFeed), AskError> {
        let member = self.locator.find(node).await.ok_or(AskError::NotConnected)?;
        let mut client = self.locator.client(member).await.map_err(|_| AskError::NotConnected)?;
        let (to, requests) = mpsc::channel(REQUESTS);
        let (sender, items) = mpsc::channel(room(start.window));
        let open = ExecOpen { node_id: node.to_string(), start: Some(start) };
        // The queue is empty and has room.
        let _ = to.try_send(request(exec_request::Message::Open(open)));
        let replies = client.exec(ReceiverStream::new(requests)).await?.into_inner();
        tokio::spawn(receive(replies, sender));
        Ok((ExecEvents { items }, ExecFeed { way: Way::Remote(to) }))
    }
}

/// Takes what another control node passes on as it comes, so that a slow reader leaves the connection free for all others. There
/// is room for what was asked for; one that sends more is cut off.
async fn receive(mut replies: Streaming<ExecOutput>, to: mpsc::Sender<Item>) {
    loop {
        let reply = tokio::select! {
            reply = replies.message() => reply,
            () = to.closed() => return,
        };
        let (item, last) = match reply {
            Ok(Some(ExecOutput { event: Some(event), .. })) => (Item::Exec(event), false),
            Ok(Some(_)) => continue,
            Ok(None) => (Item::End(StreamEnd::default()), true),
            Err(status) => match AskError::from(status) {
                AskError::NotFound => (Item::End(StreamEnd { not_found: true, ..StreamEnd::default() }), true),
                AskError::Refused(error) => (Item::End(StreamEnd { error, ..StreamEnd::default() }), true),
                // The reader sees it cut.
                _ => return,
            },
        };
        if to.try_send(item).is_err() || last {
            return;
        }
    }
}

/// Passes a command on that another control node asked for, until either end is gone.
pub(crate) async fn pass_on(
    (mut events, input): (ExecEvents, ExecFeed),
    mut requests: Streaming<ExecRequest>,
    to: mpsc::Sender<Result<ExecOutput, Status>>,
) {
    let giving = async {
        while let Ok(Some(ExecRequest { message })) = requests.message().await {
            let given = match message {
                Some(exec_request::Message::Input(ExecInput { event: Some(event), .. })) => input.give(event).await,
                Some(exec_request::Message::Credit(credit)) => input.took(credit.messages).await,
                _ => Ok(()),
            };
            if given.is_err() {
                return;
            }
        }
    };
    let taking = async {
        while let Some(event) = events.next().await {
            let failed = event.is_err();
            let reply = event.map(|event| ExecOutput { stream: 0, event: Some(event) });
            if to.send(reply.map_err(|error| Status::from(&error))).await.is_err() || failed {
                return;
            }
        }
    };
    tokio::select! {
        () = giving => {}
        () = taking => {}
        () = to.closed() => {}
    }
}
