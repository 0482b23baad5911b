//! Webhooks as entries change them, and what happens to their deliveries.

use std::sync::Arc;

use ring_types::{HookKind, MemberId, WebhookId};

use super::told::Told;
use super::{Done, Tx};
use crate::{
    AttemptResult, Clock, Delivery, HookCommand, HookEvent, HookObject, Leader, NewWebhook, Refusal, RefusalCode, Reply, Row,
    RowKey, Webhook, limits,
};

impl Tx<'_> {
    pub(super) fn hook(&mut self, command: &HookCommand) -> Done {
        match command {
            HookCommand::Create(wanted) => self.create_webhook(wanted),
            HookCommand::Delete { webhook } => self.delete_webhook(*webhook),
            HookCommand::Test { webhook } => self.test_webhook(*webhook),
            HookCommand::Redeliver { webhook, number } => self.redeliver(*webhook, *number),
            HookCommand::Settle { results } => self.settle(results),
            HookCommand::NoteLeader { member, term } => self.note_leader(*member, *term),
        }
    }

    fn create_webhook(&mut self, wanted: &NewWebhook) -> Done {
        if self.state.webhook(wanted.id).is_some() {
            return Err(Refusal::conflict(format!("webhook '{}' exists already", wanted.id)));
        }
        if self.state.webhooks.len() >= limits::WEBHOOKS {
            let message = format!("there are {} webhooks, and there may be no more; delete one first", limits::WEBHOOKS);
            return Err(Refusal::new(RefusalCode::LimitReached, message));
        }
        self.check_key(wanted.key)?;
        let NewWebhook { id, url, events, sealed, key, created_by } = wanted.clone();
        let webhook = Webhook {
            id,
            url,
            events,
            sealed,
            key,
            created_by,
            created_at: self.at,
            delivered: 0,
            delivered_at: None,
            dropped: 0,
            dropped_at: None,
            version: self.revision,
        };
        self.put(Row::Webhook(Arc::new(webhook)));
        Ok(Reply::Done)
    }

    fn delete_webhook(&mut self, id: WebhookId) -> Done {
        self.known_webhook(id)?;
        let numbers: Vec<u64> = self.state.deliveries_of(id).map(|d| d.number).collect();
        for number in numbers {
            self.delete(RowKey::Delivery(id, number));
        }
        self.delete(RowKey::Webhook(id));
        Ok(Reply::Done)
    }

    fn known_webhook(&self, id: WebhookId) -> Result<Arc<Webhook>, Refusal> {
        self.state.webhook(id).cloned().ok_or_else(|| Refusal::not_found(format!("webhook '{id}'")))
    }

    fn test_webhook(&mut self, id: WebhookId) -> Done {
        let webhook = self.known_webhook(id)?;
        let told =
            Told { message: "a test, asked for by hand".to_owned(), ..Told::of(HookKind::Test, HookObject::Webhook { id }) };
        self.enqueue(&[webhook], told);
        Ok(Reply::Done)
    }

    fn redeliver(&mut self, id: WebhookId, number: Option<u64>) -> Done {
        self.known_webhook(id)?;
        let numbers: Vec<u64> = match number {
            None => self.state.dead_letters(id).collect(),
            Some(number) => vec![number],
        };
        for number in numbers {
            let found = self.state.delivery(id, number).cloned();
            let found = found.ok_or_else(|| Refusal::not_found(format!("delivery {number} of webhook '{id}'")))?;
            if found.due.is_some() {
                let message = format!("delivery '{}' is no dead letter: it is still to be made", found.id());
                return Err(Refusal::new(RefusalCode::Invalid, message));
            }
            self.put_delivery(Delivery { attempts: 0, due: Some(self.at), ..Delivery::clone(&found) });
        }
        self.drop_surplus(id);
        Ok(Reply::Done)
    }

    /// Takes in how attempts went. What is about a delivery that is not there any more is passed over.
    fn settle(&mut self, results: &[AttemptResult]) -> Done {
        for result in results {
            let Some(delivery) = self.state.delivery(result.webhook, result.number).cloned() else { continue };
            match &result.error {
                None => self.delivered(&delivery),
                Some(error) if delivery.attempts + 1 == result.attempt && delivery.due.is_some() => {
                    let (attempts, error, failed_at) = (result.attempt, error.clone(), Some(self.at));
                    self.put_delivery(Delivery {
                        attempts,
                        due: result.retry_at,
                        failed_at,
                        error,
                        ..Delivery::clone(&delivery)
                    });
                }
                Some(_) => {}
            }
        }
        for (webhook, number) in self.state.expired_dead_letters(self.at) {
            self.delete(RowKey::Delivery(webhook, number));
        }
        Ok(Reply::Done)
    }

    fn delivered(&mut self, delivery: &Delivery) {
        self.delete(RowKey::Delivery(delivery.webhook, delivery.number));
        if let Some(webhook) = self.state.webhook(delivery.webhook).cloned() {
            let (delivered, delivered_at) = (webhook.delivered + 1, Some(self.at));
            self.put_webhook(Webhook { delivered, delivered_at, ..Webhook::clone(&webhook) });
        }
    }

    fn note_leader(&mut self, member: MemberId, term: u64) -> Done {
        let last = self.state.leader().cloned();
        let outdated = |last: &Arc<Leader>| last.member == member || last.term >= term;
        if last.as_ref().is_some_and(outdated) {
            return Ok(Reply::Done);
        }
        let leader = Leader { member, term, since: self.at, version: self.revision };
        self.put(Row::Leader(Arc::new(leader)));
        self.tell_leader(last.map(|last| last.member), member);
        Ok(Reply::Done)
    }

    /// Gives an event a number, and makes a delivery of it for each of these.
    pub(super) fn enqueue(&mut self, webhooks: &[Arc<Webhook>], told: Told) {
        let number = self.state.clock.next_event;
        self.put(Row::Clock(Clock { next_event: number + 1, ..self.state.clock }));
        let Told { kind, object, before, after, reason, message, instance, node } = told;
        let event = Arc::new(HookEvent { kind, at: self.at, object, before, after, reason, message, instance, node });
        for webhook in webhooks {
            self.put_delivery(Delivery {
                webhook: webhook.id,
                number,
                event: event.clone(),
                attempts: 0,
                due: Some(self.at),
                failed_at: None,
                error: String::new(),
                version: self.revision,
            });
            self.drop_surplus(webhook.id);
        }
    }

    /// Of too many that wait the oldest go, and are counted.
    fn drop_surplus(&mut self, id: WebhookId) {
        let surplus = self.state.backlog(id).pending.saturating_sub(limits::PENDING_PER_WEBHOOK);
        if surplus == 0 {
            return;
        }
        let oldest: Vec<u64> = self.state.pending_deliveries(id).take(surplus).collect();
        for number in oldest {
            self.delete(RowKey::Delivery(id, number));
        }
        if let Some(webhook) = self.state.webhook(id).cloned() {
            let (dropped, dropped_at) = (webhook.dropped + surplus as u64, Some(self.at));
            self.put_webhook(Webhook { dropped, dropped_at, ..Webhook::clone(&webhook) });
        }
    }

    pub(super) fn put_webhook(&mut self, mut webhook: Webhook) {
        webhook.version = self.revision;
        self.put(Row::Webhook(Arc::new(webhook)));
    }

    fn put_delivery(&mut self, mut delivery: Delivery) {
        delivery.version = self.revision;
        self.put(Row::Delivery(Arc::new(delivery)));
    }
}
