//! `ring login` and `ring logout`

use std::path::PathBuf;

use clap::Args;
use ring_api::client::BY_HOST;
use ring_api::model::LoginRequest;
use url::Url;

use crate::config::{ApiSection, ContextSection, Credential, Credentials, edit};
use crate::context::{Context, Target, pins};
use crate::error::CliError;
use crate::output::Reply;
use crate::password::read_password;

/// `ring login`
#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// Account
    #[arg(short, long, default_value = "admin")]
    username: String,
    /// Password; asked for on a terminal, else read from standard input, when left out
    #[arg(short, long)]
    password: Option<String>,
    /// Control nodes to log in at, such as https://10.0.0.1:3030, several with commas; the context keeps them
    #[arg(long, value_name = "URL")]
    host: Option<String>,
    /// SHA-256 fingerprint of the cluster's certificate authority, as a control node prints it; the context keeps it, and every
    /// command from then on trusts that authority alone
    #[arg(long, value_name = "SHA256", conflicts_with = "ca_file")]
    ca_fingerprint: Option<String>,
    /// File with the certificate of the authority to trust, PEM; the context keeps the path
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

impl LoginArgs {
    /// Says where to log in, or whom to trust there.
    fn chooses(&self) -> bool {
        self.host.is_some() || self.ca_fingerprint.is_some() || self.ca_file.is_some()
    }
}

/// `ring logout`
#[derive(Debug, Args)]
pub(crate) struct LogoutArgs {}

pub(crate) async fn login(context: &Context, args: LoginArgs) -> Result<Reply, CliError> {
    let target = if args.chooses() { chosen(context, &args)? } else { context.target()? };
    let client = target.client(None)?;
    if client.hosts().speak_tls() {
        // A password is asked for when it is known that somebody who is trusted will get it.
        client.health().await?;
    }
    let password = match args.password.clone() {
        Some(password) => password,
        None => read_password(&args.username)?,
    };
    let request = LoginRequest { username: args.username.clone(), password };
    let reply = client.login(&request).await?;
    if args.chooses() {
        edit::put_context(&context.paths.config_file, &target.context, &section(&target)?)?;
    }
    let path = context.paths.credentials();
    let mut kept = Credentials::load(&path)?;
    let username = reply.user.username;
    kept.set(&target.context, Credential { token: reply.token, username: username.clone() });
    kept.save(&path)?;
    let until = reply.expires_at.map(|time| format!(" until {}", crate::time::shown(time))).unwrap_or_default();
    Ok(Reply::default().note(format!("logged in as '{username}' ({}) at {}{until}", reply.user.role, target.hosts)))
}

/// The cluster of a login that says where it is: it need not be known yet.
fn chosen(context: &Context, args: &LoginArgs) -> Result<Target, CliError> {
    let mut target = context.target_or_new()?;
    if let Some(host) = &args.host {
        // What the context had was said of the hosts it had.
        let (ca_fingerprint, ca_file) = pins()?;
        let api = ApiSection { ca_fingerprint, ca_file, scheme: BY_HOST.to_owned(), ..target.api };
        target = Target { hosts: host.clone(), api, ..target };
    }
    if args.ca_fingerprint.is_some() || args.ca_file.is_some() {
        let absolute = |path: &PathBuf| path.canonicalize().map_err(|source| CliError::Read { path: path.clone(), source });
        target.api.ca_file = args.ca_file.as_ref().map(absolute).transpose()?;
        target.api.ca_fingerprint.clone_from(&args.ca_fingerprint);
    }
    Ok(target)
}

/// What the context is to keep: names alone where scheme and port are the same for all.
fn section(target: &Target) -> Result<ContextSection, CliError> {
    let hosts = target.parsed()?;
    let form = |url: &Url| (url.scheme().to_owned(), url.port_or_known_default().unwrap_or(target.api.port));
    let (scheme, port) = hosts.urls().first().map_or((BY_HOST.to_owned(), target.api.port), form);
    let alike = hosts.urls().iter().all(|url| form(url) == (scheme.clone(), port) && url.path() == "/");
    let written = |url: &Url| match url.host_str() {
        Some(host) if alike => host.to_owned(),
        _ => url.as_str().trim_end_matches('/').to_owned(),
    };
    let host = hosts.urls().iter().map(written).collect::<Vec<_>>().join(",");
    Ok(ContextSection::at(host, ApiSection { scheme, port, ..target.api.clone() }))
}

/// Forgets the token here even when no server can be told.
pub(crate) async fn logout(context: &Context) -> Result<Reply, CliError> {
    let target = context.target()?;
    let path = context.paths.credentials();
    let mut kept = Credentials::load(&path)?;
    if kept.get(&target.context).is_none() {
        return Ok(Reply::default().note(format!("not logged in at {}", target.hosts)));
    }
    let told = context.client()?.logout().await;
    kept.remove(&target.context);
    kept.save(&path)?;
    let reply = Reply::default().note(format!("logged out at {}", target.hosts));
    Ok(match told {
        Ok(_) => reply,
        Err(error) => reply.warn([format!("the session stays valid on the server: {error}")]),
    })
}
