//! Hints from the engine's event stream.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptions;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use ring_runtime::{Hint, now};
use ring_types::Timestamp;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::client::Client;
use crate::config::Engine;
use crate::driver::Containers;
use crate::marks;

/// The stream asks for the events of this long ago too: nothing falls between the last look and its first event.
const OVERLAP: Duration = Duration::from_secs(5);

/// How often an engine that says nothing is asked whether it is there.
const PING: Duration = Duration::from_secs(15);

/// Pauses between attempts to reach an engine that is not there.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(2)];

/// Hints a slow receiver may be behind; the reading of events waits for it.
const HINTS: usize = 256;

/// Hints without end. The reading ends when the receiver is dropped.
pub(crate) fn hints(containers: Arc<Containers>) -> BoxStream<'static, Hint> {
    let (sender, receiver) = mpsc::channel(HINTS);
    tokio::spawn(async move {
        tokio::select! {
            () = sender.closed() => {}
            () = read(&containers, &sender) => {}
        }
    });
    stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|hint| (hint, receiver)) }).boxed()
}

async fn read(containers: &Containers, sender: &mpsc::Sender<Hint>) {
    // At once, also with no engine there: it has to be looked at to be known as not there.
    if sender.send(Hint::Everything).await.is_err() {
        return;
    }
    let mut told = true;
    loop {
        told &= reached(&containers.client).await;
        containers.outages.back(now());
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(OVERLAP);
        if !told && sender.send(Hint::Everything).await.is_err() {
            return;
        }
        told = false;
        let Some(heard) = pass_on(containers, since, sender).await else { return };
        containers.outages.silent(heard);
    }
}

/// Returns when the engine answers: true when it did so at once.
async fn reached(client: &Client) -> bool {
    let mut pause = PAUSES[0];
    let mut at_once = true;
    while !matches!(client.ask(|docker| async move { docker.ping().await }).await, Ok(Ok(_))) {
        at_once = false;
        sleep(pause).await;
        pause = (pause * 2).min(PAUSES[1]);
    }
    at_once
}

/// Passes events on until the stream breaks or the engine hangs; when it was last known to be there. None when nobody listens any
/// more.
async fn pass_on(containers: &Containers, since: Duration, sender: &mpsc::Sender<Hint>) -> Option<Timestamp> {
    let (client, config) = (&containers.client, &containers.config);
    // Podman tells no labels with its events, and so finds none: there the containers are told by their own ids.
    let labelled = config.engine == Engine::Docker;
    let mut filters = if labelled { marks::ours(config.node) } else { HashMap::new() };
    filters.insert("type".to_owned(), vec!["container".to_owned()]);
    let options = EventsOptions { since: Some(since.as_secs().to_string()), until: None, filters: Some(filters) };
    let mut heard = now();
    let Ok(docker) = client.docker().await else { return Some(heard) };
    let mut events = docker.events(Some(options)).boxed();
    let mut ping = interval(PING);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            event = events.next() => {
                let Some(Ok(mut event)) = event else { return Some(now()) };
                if !labelled {
                    label(&mut event, containers);
                }
                if let Some(hint) = hint(event) {
                    sender.send(hint).await.ok()?;
                }
            },
            _ = ping.tick() => {
                let asked = now();
                if !matches!(client.ask(|docker| async move { docker.ping().await }).await, Ok(Ok(_))) {
                    return Some(heard);
                }
                heard = asked;
            }
        }
    }
}

/// Gives an event the label that its container has.
fn label(event: &mut EventMessage, containers: &Containers) {
    if let Some(actor) = &mut event.actor
        && let Some(instance) = actor.id.as_ref().and_then(|id| containers.instance_of(id))
    {
        let attributes = actor.attributes.get_or_insert_default();
        attributes.insert(marks::INSTANCE.to_owned(), instance.to_string());
    }
}

/// Commands run inside a container change nothing about the instance. What its health check says is looked at when it changes.
fn hint(event: EventMessage) -> Option<Hint> {
    let action = event.action.unwrap_or_default();
    if action.starts_with("exec_") || action == "top" {
        return None;
    }
    let labels = event.actor?.attributes?;
    marks::instance(&labels).map(Hint::Instance)
}

#[cfg(test)]
mod tests {
    use bollard::models::EventActor;

    use super::*;

    #[test]
    fn events_of_our_containers_are_hints() {
        let id = "01890000-0000-7000-8000-0000deadbeef";
        let event = |action: &str, label: &str| EventMessage {
            action: Some(action.to_owned()),
            actor: Some(EventActor { id: None, attributes: Some(HashMap::from([(label.to_owned(), id.to_owned())])) }),
            ..EventMessage::default()
        };
        assert_eq!(hint(event("die", "ring_instance")), Some(Hint::Instance(id.parse().unwrap())));
        assert_eq!(hint(event("health_status: unhealthy", "ring_instance")), Some(Hint::Instance(id.parse().unwrap())));
        assert_eq!(hint(event("exec_start: sh", "ring_instance")), None);
        assert_eq!(hint(event("die", "other")), None);
    }
}
