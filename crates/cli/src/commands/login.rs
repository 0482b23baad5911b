//! `ring login` and `ring logout`

use clap::Args;
use ring_api::model::LoginRequest;

use crate::config::{Credential, Credentials};
use crate::context::Context;
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
}

/// `ring logout`
#[derive(Debug, Args)]
pub(crate) struct LogoutArgs {}

pub(crate) async fn login(context: &Context, args: LoginArgs) -> Result<Reply, CliError> {
    let target = context.target()?;
    let client = context.anonymous()?;
    let password = match args.password {
        Some(password) => password,
        None => read_password(&args.username)?,
    };
    let request = LoginRequest { username: args.username, password };
    let reply = client.login(&request).await?;
    let path = context.paths.credentials();
    let mut kept = Credentials::load(&path)?;
    let username = reply.user.username;
    kept.set(&target.context, Credential { token: reply.token, username: username.clone() });
    kept.save(&path)?;
    let until = reply.expires_at.map(|time| format!(" until {}", crate::time::shown(time))).unwrap_or_default();
    Ok(Reply::default().note(format!("logged in as '{username}' ({}) at {}{until}", reply.user.role, target.hosts)))
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
