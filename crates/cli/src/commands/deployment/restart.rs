//! `ring deployment restart`

use ring_api::client::Client;

use super::find;
use super::follow::{Follow, followed};
use crate::error::CliError;
use crate::output::Reply;

pub(crate) async fn run(client: &Client, args: Follow) -> Result<Reply, CliError> {
    let deployment = find(client, &args.id).await?;
    let reply = client.restart_deployment(deployment.id).await?;
    followed(client, &args, reply).await
}
