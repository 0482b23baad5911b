//! `ring user`

use clap::{Args, Subcommand};
use ring_api::model::{CreateUser, Role, UpdateUser};

use crate::context::Context;
use crate::error::CliError;
use crate::format::OutputArgs;
use crate::node::ResetPassword;
use crate::output::{ListView, Reply};
use crate::password::read_password;
use crate::resolve::pick;

/// `ring user`
#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Make an account
    Create(Create),
    /// List accounts
    List(OutputArgs),
    /// Change an account
    Update(Update),
    /// On the host of a control node, give an account a new password without logging in
    ResetPassword(ResetPassword),
    /// Delete an account
    Delete(Delete),
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Name to log in with
    #[arg(short, long)]
    username: String,
    /// Password; asked for on a terminal, else read from standard input, when left out
    #[arg(short, long)]
    password: Option<String>,
    /// What it may do: viewer, operator or admin
    #[arg(short, long, default_value = "viewer")]
    role: Role,
}

#[derive(Debug, Args)]
pub(crate) struct Update {
    /// Its id, a unique prefix of it, or its name
    user: String,
    /// New name
    #[arg(short, long)]
    username: Option<String>,
    /// New password; '-' asks for it on a terminal, or reads it from standard input
    #[arg(short, long)]
    password: Option<String>,
    /// New role; the account's tokens are revoked
    #[arg(short, long)]
    role: Option<Role>,
}

#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// Its id, a unique prefix of it, or its name
    user: String,
}

pub(crate) async fn run(context: &Context, command: UserCommand) -> Result<Reply, CliError> {
    let client = context.client()?;
    match command {
        UserCommand::Create(args) => {
            let password = match args.password {
                Some(password) => password,
                None => read_password(&args.username)?,
            };
            let user = CreateUser { username: args.username, password, role: args.role };
            let made = client.create_user(&user).await?.object;
            Ok(Reply::line(format!("user {} created (id {}, role {})", made.username, made.id, made.role)))
        }
        UserCommand::List(output) => Ok(Reply::view(ListView(client.users().await?), output.format)),
        UserCommand::Update(args) => {
            let users = client.users().await?;
            let user = pick(&users, &args.user)?;
            let password = match args.password.as_deref() {
                Some("-") => Some(read_password(&user.username)?),
                _ => args.password,
            };
            let update = UpdateUser { username: args.username, password, role: args.role };
            if update == UpdateUser::default() {
                return Err(CliError::Usage("nothing to change: give --username, --password or --role".to_owned()));
            }
            let changed = client.update_user(user.id, &update).await?.object;
            Ok(Reply::line(format!("user {} updated (role {})", changed.username, changed.role)))
        }
        UserCommand::ResetPassword(_) => Err(CliError::Usage("this command needs a control node's own host".to_owned())),
        UserCommand::Delete(args) => {
            let users = client.users().await?;
            let user = pick(&users, &args.user)?;
            client.delete_user(user.id).await?;
            Ok(Reply::line(format!("user {} deleted", user.username)))
        }
    }
}
