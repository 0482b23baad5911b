//! `ring webhook`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use ring_api::client::Client;
use ring_api::model::{CreateWebhook, DeliveryState, Redelivered};
use ring_types::EventFilter;

use super::named::each;
use super::secret::{read_file, read_stdin};
use crate::context::Context;
use crate::error::{CliError, meant};
use crate::format::OutputArgs;
use crate::node::word;
use crate::output::{ListView, ObjectView, Reply};
use crate::resolve::pick;
use crate::suggest::near;

/// `ring webhook`
#[derive(Debug, Subcommand)]
pub(crate) enum WebhookCommand {
    /// Have events sent to an address; a secret that was made is printed once, alone on standard output
    Create(Create),
    /// List webhooks, and how their deliveries go; never their secrets
    List(OutputArgs),
    /// Show a webhook
    Inspect(Inspect),
    /// Delete a webhook, with what was still to be delivered
    Delete(Delete),
    /// Have a test delivered
    Test(Which),
    /// List what is still to be delivered, and dead letters with their errors
    Deliveries(Deliveries),
    /// Try dead letters anew: one, or all of a webhook
    Redeliver(Redeliver),
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Where to send events: http or https
    url: String,
    /// What to send: a kind such as deployment.scaled, a family such as node.*, or *, which is everything and the default; may
    /// be given several times
    #[arg(short, long = "event", value_name = "KIND", value_parser = filter)]
    events: Vec<EventFilter>,
    /// The secret to sign with; one is made when neither this nor --secret-file is given
    #[arg(short, long, conflicts_with = "secret_file", allow_hyphen_values = true)]
    secret: Option<String>,
    /// A file with the secret, taken as it is; '-' is standard input
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// Its id, a unique prefix of it, or its address
    id: String,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Its id, a unique prefix of it, or its address
    id: String,
}

#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// Ids, unique prefixes of ids, or addresses
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Deliveries {
    /// Id of the webhook, a unique prefix of it, or its address
    id: String,
    /// Only those in this state
    #[arg(long, value_name = "pending|dead", value_parser = word(DeliveryState::ALL, DeliveryState::as_str), hide_possible_values = true)]
    state: Option<DeliveryState>,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct Redeliver {
    /// Id of the webhook, a unique prefix of it, or its address
    id: String,
    /// Ids of dead letters, or unique prefixes of them; all when left out
    #[arg(value_name = "DELIVERY")]
    deliveries: Vec<String>,
}

/// A filter of events; one that does not exist is told with the one that was probably meant.
fn filter(text: &str) -> Result<EventFilter, String> {
    text.parse().map_err(|error| format!("{error}{}", meant(near(text, EventFilter::known()).as_deref())))
}

pub(crate) async fn run(context: &Context, command: WebhookCommand) -> Result<Reply, CliError> {
    let client = context.client()?;
    match command {
        WebhookCommand::Create(args) => create(&client, args).await,
        WebhookCommand::List(output) => Ok(Reply::view(ListView(client.webhooks().await?), output.format)),
        WebhookCommand::Inspect(args) => {
            let webhooks = client.webhooks().await?;
            let webhook = client.webhook(pick(&webhooks, &args.id)?.id).await?;
            Ok(Reply::view(ObjectView(webhook), args.output.format))
        }
        WebhookCommand::Delete(args) => {
            let webhooks = client.webhooks().await?;
            each(&args.ids, async |id| {
                let webhook = pick(&webhooks, id)?;
                client.delete_webhook(webhook.id).await?;
                Ok(format!("webhook {} deleted", webhook.url))
            })
            .await
        }
        WebhookCommand::Test(args) => {
            let webhooks = client.webhooks().await?;
            let webhook = pick(&webhooks, &args.id)?;
            client.test_webhook(webhook.id).await?;
            let next = format!("how it goes: ring webhook deliveries {}", webhook.id);
            Ok(Reply::line(format!("a test is on its way to {}", webhook.url)).note(next))
        }
        WebhookCommand::Deliveries(args) => {
            let webhooks = client.webhooks().await?;
            let found = client.deliveries(pick(&webhooks, &args.id)?.id, args.state).await?;
            Ok(Reply::view(ListView(found), args.output.format))
        }
        WebhookCommand::Redeliver(args) => redeliver(&client, args).await,
    }
}

async fn create(client: &Client, args: Create) -> Result<Reply, CliError> {
    let secret = match (args.secret, &args.secret_file) {
        (Some(secret), _) => Some(secret),
        (None, Some(path)) if path.as_os_str() != "-" => Some(read_file(path)?),
        (None, Some(_)) => Some(read_stdin()?),
        (None, None) => None,
    };
    let events = args.events.iter().map(ToString::to_string).collect();
    let made = client.create_webhook(&CreateWebhook { url: args.url, events, secret }).await?.object;
    let told = format!("webhook {} created (id {})", made.url, made.id);
    Ok(match made.secret {
        Some(secret) => Reply::line(secret).note(format!("{told}; its secret is not shown again")),
        None => Reply::line(told),
    })
}

async fn redeliver(client: &Client, args: Redeliver) -> Result<Reply, CliError> {
    let webhooks = client.webhooks().await?;
    let webhook = pick(&webhooks, &args.id)?;
    if args.deliveries.is_empty() {
        let Redelivered { redelivered, .. } = client.redeliver_all(webhook.id).await?;
        let letters = if redelivered == 1 { "dead letter is" } else { "dead letters are" };
        return Ok(Reply::line(format!("{redelivered} {letters} on the way to {} again", webhook.url)));
    }
    let dead = client.deliveries(webhook.id, Some(DeliveryState::Dead)).await?;
    each(&args.deliveries, async |id| {
        let delivery = pick(&dead, id)?;
        client.redeliver(webhook.id, delivery.id).await?;
        Ok(format!("delivery {} is on the way again", delivery.id))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_does_not_exist_is_told_with_the_nearest() {
        assert_eq!(filter("deployment.scaled").unwrap().to_string(), "deployment.scaled");
        let error = filter("deployment.status_change").unwrap_err();
        assert!(error.ends_with("; did you mean 'deployment.status_changed'?"), "{error}");
        assert!(error.starts_with("'deployment.status_change' is not one of deployment.status_changed, "), "{error}");
    }
}
