//! The network of a namespace, made when it is first needed.

use std::collections::HashMap;

use bollard::errors::Error;
use bollard::models::{Network, NetworkCreateRequest};
use bollard::query_parameters::ListNetworksOptions;
use ring_runtime::{RuntimeError, RuntimeErrorKind};
use ring_types::StartFailure;

use crate::client::{Client, status};

/// Makes sure that there is exactly one network of this name. Older engines make a second one when asked twice at the same time,
/// and then refuse the name as ambiguous. An agent asks once at a time; against others that share its engine, the network made
/// first stays, which everybody agrees on in the end.
pub(crate) async fn ensure(client: &Client, name: &str) -> Result<(), RuntimeError> {
    if settle(client, name).await? {
        return Ok(());
    }
    let request = NetworkCreateRequest {
        name: name.to_owned(),
        driver: Some("bridge".to_owned()),
        labels: Some(HashMap::from([("ring_network".to_owned(), "true".to_owned())])),
        ..NetworkCreateRequest::default()
    };
    match client.ask(|docker| async move { docker.create_network(request).await }).await? {
        Ok(_) => {}
        // Somebody else was faster.
        Err(error) if status(&error) == Some(409) => {}
        Err(error) => return Err(failed(client, name, &error)),
    }
    settle(client, name).await.map(drop)
}

/// Is there exactly one network of this name? Then there is nothing to make sure of.
pub(crate) async fn is_one(client: &Client, name: &str) -> Result<bool, RuntimeError> {
    Ok(of_name(client, name).await?.len() == 1)
}

/// Is there a network of this name? Of several, all but the first go; one that is in use stays, for the engine refuses.
async fn settle(client: &Client, name: &str) -> Result<bool, RuntimeError> {
    let all = of_name(client, name).await?;
    let first = first(&all);
    for extra in all.iter().filter_map(|network| network.id.clone()).filter(|id| Some(id) != first.as_ref()) {
        let _ = client.ask(|docker| async move { docker.remove_network(&extra).await }).await?;
    }
    Ok(first.is_some())
}

/// The filter of an engine finds parts of names too.
async fn of_name(client: &Client, name: &str) -> Result<Vec<Network>, RuntimeError> {
    let filters = HashMap::from([("name".to_owned(), vec![name.to_owned()])]);
    let options = ListNetworksOptions { filters: Some(filters) };
    let listed = client.ask(|docker| async move { docker.list_networks(Some(options)).await }).await?;
    let mut networks = listed.map_err(|error| failed(client, name, &error))?;
    networks.retain(|network| network.name.as_deref() == Some(name));
    Ok(networks)
}

fn first(networks: &[Network]) -> Option<String> {
    let oldest = networks.iter().min_by_key(|network| (network.created.clone(), network.id.clone()))?;
    oldest.id.clone()
}

fn failed(client: &Client, name: &str, error: &Error) -> RuntimeError {
    client.error(RuntimeErrorKind::Start(StartFailure::Network), &format!("network '{name}'"), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_agrees_on_the_network_made_first() {
        let network = |id: &str, created: &str| Network {
            id: Some(id.to_owned()),
            created: Some(created.to_owned()),
            ..Network::default()
        };
        let all =
            [network("a", "2026-01-02T00:00:00Z"), network("c", "2026-01-01T00:00:00Z"), network("b", "2026-01-01T00:00:00Z")];
        assert_eq!(first(&all).as_deref(), Some("b"));
        assert_eq!(first(&[]), None);
    }
}
