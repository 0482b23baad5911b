//! `ring deployment delete`

use clap::Args;
use ring_api::client::Client;
use ring_api::query::DeploymentQuery;

use super::find;
use crate::commands::named::each;
use crate::error::CliError;
use crate::output::Reply;
use crate::resolve::Named;

#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// Ids, unique prefixes of ids, or NAMESPACE/NAME
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
}

/// Deletes each; one that fails does not keep the others.
pub(crate) async fn run(client: &Client, args: Delete) -> Result<Reply, CliError> {
    each(&args.ids, async |wanted| Ok(format!("deployment {} deleted", delete(client, wanted).await?))).await
}

async fn delete(client: &Client, wanted: &str) -> Result<String, CliError> {
    let deployment = find(client, wanted).await?;
    let name = deployment.full_name();
    // A name means every version of it, also the one an update takes the place of; an id means that one alone.
    if wanted == name || wanted == deployment.name {
        let (namespaces, only) = (vec![deployment.namespace.clone()], Some(deployment.name.clone()));
        let all = client.deployments(&DeploymentQuery { namespaces, name: only, ..Default::default() }).await?;
        for other in all.iter().filter(|other| other.id != deployment.id) {
            client.delete_deployment(other.id).await?;
        }
    }
    client.delete_deployment(deployment.id).await?;
    Ok(name)
}
