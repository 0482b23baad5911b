//! `ring deployment exec`

use std::io;

use bytes::Bytes;
use clap::Args;
use ring_api::client::{Client, ClientError, ExecReceiver, ExecSender, ExecSession};
use ring_api::exec::{Control, Frame, Started};
use ring_api::query::ExecQuery;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::find;
use crate::error::CliError;
use crate::output::{Outputs, Reply, Written, note};
use crate::terminal::{self, Raw};

/// Messages of output under way to this program, or waiting to be written by it.
const WINDOW: u32 = 32;
/// Messages written before the server is told.
const CREDIT: u32 = 8;

#[derive(Debug, Args)]
pub(crate) struct Exec {
    /// Its id, a unique prefix of it, or NAMESPACE/NAME
    id: String,
    /// Pass standard input on; without it the command reads an empty one
    #[arg(short = 'i', long)]
    stdin: bool,
    /// Run it on a terminal of this one's size; with -i every key goes there. Standard input has to be a terminal
    #[arg(short, long)]
    tty: bool,
    /// In this instance: its id, a prefix of it, or its end as it stands before a line of output. Without it, in one that runs
    #[arg(short, long = "container", value_name = "INSTANCE")]
    container: Option<String>,
    /// Program and arguments, not read by a shell: for one, write `sh -c '…'`
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

pub(crate) async fn run(client: &Client, args: Exec) -> Result<Reply, CliError> {
    if args.tty && !terminal::is_terminal() {
        let message = "-t needs a terminal, and standard input is none: leave -t out, or run it from a terminal";
        return Err(CliError::Usage(message.to_owned()));
    }
    let deployment = find(client, &args.id).await?;
    let query = ExecQuery {
        command: args.command,
        container: args.container,
        stdin: args.stdin,
        terminal: args.tty.then(terminal::size),
        window: Some(WINDOW),
    };
    let ExecSession { mut receiver, sender } = client.exec(deployment.id, &query).await?;
    let input_window = match receiver.next().await? {
        Frame::Control(Control::Started(started)) => begun(started),
        Frame::Control(Control::Error(problem)) => return Err(ClientError::Problem(problem).into()),
        _ => return Err(not_understood()),
    };
    let signals = Signals::listen().map_err(CliError::Runtime)?;
    // The terminal is as it was when this function is left, in whatever way.
    let _raw = (args.tty && args.stdin).then(Raw::enter).transpose()?;
    let input = args.stdin.then(terminal::pieces);
    let (outputs, written) = Outputs::start();
    let talk = Talk { sender, input, input_window, outputs, written, taken: 0, signals, terminal: args.tty };
    talk.run(receiver).await
}

/// Says where it runs when that could have been elsewhere.
fn begun(started: Started) -> u32 {
    let Started { instance, node, others, input_window } = started;
    if others > 0 {
        let more = if others == 1 { "another one runs".to_owned() } else { format!("{others} others run") };
        note(&format!("in instance {instance} on {node}; {more}: choose with -c"));
    }
    input_window
}

fn not_understood() -> CliError {
    CliError::Usage("the server said something about the command that this release does not understand".to_owned())
}

/// A command under way.
struct Talk {
    sender: ExecSender,
    /// Standard input, until its end.
    input: Option<mpsc::Receiver<io::Result<Bytes>>>,
    /// Messages of input that may be sent.
    input_window: u32,
    outputs: Outputs,
    written: Written,
    /// Messages written that the server was not told of.
    taken: u32,
    signals: Signals,
    terminal: bool,
}

impl Talk {
    /// What came is written before the end is told, an error too.
    async fn run(mut self, mut receiver: ExecReceiver) -> Result<Reply, CliError> {
        let end = match self.talk(&mut receiver).await {
            Ok(End::Signal(number)) => {
                self.sender.close().await;
                return Ok(by_signal(number));
            }
            Ok(End::Code(code)) => Ok(Reply::default().exit(u8::try_from(code).unwrap_or(u8::MAX))),
            Err(error) => Err(error),
        };
        self.finish(receiver, end).await
    }

    async fn talk(&mut self, receiver: &mut ExecReceiver) -> Result<End, CliError> {
        loop {
            let may_send = self.input_window > 0;
            tokio::select! {
                frame = receiver.next() => if let Some(code) = self.hear(frame?)? {
                    return Ok(End::Code(code));
                },
                piece = next_piece(&mut self.input), if may_send => self.give(piece).await?,
                Some(result) = self.written.recv() => self.wrote(result).await?,
                told = self.signals.told() => match told {
                    Told::Resized if self.terminal => {
                        self.sender.send(Frame::Control(Control::Resize(terminal::size()))).await?;
                    }
                    Told::Resized => {}
                    Told::End(number) => return Ok(End::Signal(number)),
                }
            }
        }
    }

    /// The exit code, when it has come.
    fn hear(&mut self, frame: Frame) -> Result<Option<i32>, CliError> {
        match frame {
            Frame::Stdout(bytes) => self.outputs.output(bytes),
            Frame::Stderr(bytes) => self.outputs.error(bytes),
            Frame::Control(Control::Taken(messages)) => self.input_window = self.input_window.saturating_add(messages),
            Frame::Control(Control::ExitCode(code)) => return Ok(Some(code)),
            Frame::Control(Control::Error(problem)) => return Err(ClientError::Problem(problem).into()),
            // Of a later release.
            Frame::Control(_) | Frame::Stdin(_) => {}
        }
        Ok(None)
    }

    async fn give(&mut self, piece: Option<io::Result<Bytes>>) -> Result<(), CliError> {
        let frame = match piece {
            Some(Ok(bytes)) => {
                self.input_window -= 1;
                Frame::Stdin(bytes)
            }
            Some(Err(error)) => return Err(CliError::Input("standard input", error)),
            None => {
                self.input = None;
                Frame::Control(Control::Close(true))
            }
        };
        Ok(self.sender.send(frame).await?)
    }

    async fn wrote(&mut self, result: Result<(), CliError>) -> Result<(), CliError> {
        result?;
        self.taken += 1;
        if self.taken < CREDIT {
            return Ok(());
        }
        Ok(self.sender.send(Frame::Control(Control::Taken(std::mem::take(&mut self.taken)))).await?)
    }

    /// Writes what is still to be written; then it is the end. A signal does not wait for who reads slowly.
    async fn finish(self, receiver: ExecReceiver, end: Result<Reply, CliError>) -> Result<Reply, CliError> {
        let Self { mut sender, outputs, mut written, mut signals, .. } = self;
        sender.close().await;
        receiver.finish().await;
        drop(outputs);
        loop {
            tokio::select! {
                word = written.recv() => match word {
                    Some(Ok(())) => {}
                    Some(Err(failed)) => return end.and(Err(failed)),
                    None => return end,
                },
                told = signals.told() => if let Told::End(number) = told {
                    return Ok(by_signal(number));
                },
            }
        }
    }
}

/// How a talk came to its end.
enum End {
    /// The command ended with this code.
    Code(i32),
    /// This program was told to end.
    Signal(u8),
}

fn by_signal(number: u8) -> Reply {
    Reply::default().exit(128 + number)
}

/// The next piece of standard input; never, once it has ended.
async fn next_piece(input: &mut Option<mpsc::Receiver<io::Result<Bytes>>>) -> Option<io::Result<Bytes>> {
    match input {
        Some(input) => input.recv().await,
        None => std::future::pending().await,
    }
}

/// What the system tells this program.
enum Told {
    /// The terminal has another size.
    Resized,
    /// It has to end, by the signal of this number.
    End(u8),
}

/// Where it tells it.
struct Signals {
    resized: Signal,
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            resized: signal(SignalKind::window_change())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn told(&mut self) -> Told {
        let kind = tokio::select! {
            _ = self.resized.recv() => return Told::Resized,
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = self.hang_up.recv() => SignalKind::hangup(),
        };
        Told::End(u8::try_from(kind.as_raw_value()).unwrap_or_default())
    }
}
