//! `ring cluster`

use clap::{Args, Subcommand};
use ring_api::client::Client;
use ring_api::model::{ClusterStatus, CreateJoinToken, JoinRole, Member, MemberRole};
use ring_types::{MemberId, Span};

use super::audit::AuditArgs;
use super::authority::{self, CaCommand};
use super::snapshot::{self, SnapshotCommand};
use crate::context::Context;
use crate::error::CliError;
use crate::format::{Format, OutputArgs};
use crate::node::{ClusterInit, ClusterJoin, ClusterRecover, JoinAs};
use crate::output::{ListView, ObjectView, Reply, Screen, View};
use crate::resolve::pick;
use crate::time::{shown, span};

/// `ring cluster`
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Make a cluster on this host, the first control node, and start
    Init(ClusterInit),
    /// Make this host a part of a cluster, and start
    Join(ClusterJoin),
    /// Tokens that admit hosts
    #[command(subcommand)]
    Token(TokenCommand),
    /// Show whether the cluster works, who leads, and how far everybody is
    Status(OutputArgs),
    /// List control nodes
    Members(OutputArgs),
    /// Give a control node a vote
    Promote(MemberArg),
    /// Take a control node out of the cluster
    Remove(MemberArg),
    /// Take the control node that answers out of the cluster
    Leave,
    /// Show who did what, in the cluster and in all its namespaces
    Audit(AuditArgs),
    /// Let another control node lead
    TransferLeader(Transfer),
    /// Snapshots of the cluster's state: save, check, restore
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    /// Go on with this control node alone when the quorum is lost for good
    ///
    /// For one survivor, stopped. It says what is given up, and asks. The cluster goes on under another generation with this host as its
    /// only control node; the others are refused, and have to join anew with an empty data directory. Choose the survivor with the
    /// highest last entry: `--dry-run` shows it.
    Recover(ClusterRecover),
    /// The authority that signs the certificates of all hosts
    #[command(subcommand)]
    Ca(CaCommand),
}

/// `ring cluster token`
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token; it is printed once, alone on standard output
    Create(Create),
    /// List tokens, without their secrets
    List(OutputArgs),
    /// Take a token away
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub(crate) struct MemberArg {
    /// Its id or name
    member: String,
}

#[derive(Debug, Args)]
pub(crate) struct Transfer {
    /// Id or name of the one to lead; the most up-to-date other one when left out
    #[arg(long)]
    to: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// What it admits
    #[arg(long, value_enum, default_value_t)]
    role: JoinAs,
    /// How long it is good
    #[arg(short, long, value_name = "DURATION", default_value = "1d", value_parser = span)]
    expires: Span,
    /// How many hosts it admits; any number until it expires when left out
    #[arg(long)]
    uses: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// Its id, or a unique prefix of it
    id: String,
}

pub(crate) async fn run(context: &Context, command: ClusterCommand) -> Result<Reply, CliError> {
    let client = context.client()?;
    match command {
        ClusterCommand::Snapshot(SnapshotCommand::Save(args)) => snapshot::save(&client, &args).await,
        ClusterCommand::Init(_) | ClusterCommand::Join(_) | ClusterCommand::Recover(_) | ClusterCommand::Snapshot(_) => {
            Err(CliError::Usage("this command runs a node".to_owned()))
        }
        ClusterCommand::Ca(command) => authority::run(&client, command).await,
        ClusterCommand::Token(command) => token(&client, command).await,
        ClusterCommand::Status(output) => Ok(Reply::view(StatusView(client.cluster().await?), output.format)),
        ClusterCommand::Members(output) => Ok(Reply::view(ListView(client.members().await?), output.format)),
        ClusterCommand::Promote(args) => {
            let member = find(&client, &args.member).await?;
            client.promote(member.id).await?;
            let reply = Reply::line(format!("control node {} ({}) promoted", member.id, member.name));
            Ok(reply.warn(votes_after(&client).await))
        }
        ClusterCommand::Remove(args) => {
            let member = find(&client, &args.member).await?;
            remove(&client, member.id, &member.name).await
        }
        ClusterCommand::Leave => {
            let status = client.cluster().await?;
            let name = status.members.iter().find(|m| m.id == status.member).map(|m| m.name.clone()).unwrap_or_default();
            remove(&client, status.member, &name).await
        }
        ClusterCommand::Audit(which) => {
            Ok(Reply::view(ListView(client.cluster_audit(&which.query()).await?), which.output.format))
        }
        ClusterCommand::TransferLeader(args) => {
            let to = match args.to {
                Some(wanted) => Some(find(&client, &wanted).await?.id),
                None => None,
            };
            client.transfer_leader(to).await?;
            Ok(Reply::default().note("leadership is being transferred; see: ring cluster status"))
        }
    }
}

async fn find(client: &Client, wanted: &str) -> Result<Member, CliError> {
    let members = client.members().await?;
    pick(&members, wanted).cloned()
}

async fn remove(client: &Client, id: MemberId, name: &str) -> Result<Reply, CliError> {
    client.remove_member(id).await?;
    Ok(Reply::line(format!("control node {id} ({name}) removed")).warn(votes_after(client).await))
}

/// What is to be said of the number of votes after a change that was made, if it can be asked for.
async fn votes_after(client: &Client) -> Option<String> {
    client.members().await.ok().and_then(|members| votes_advice(&members))
}

/// An even number of votes bears no more losses than one fewer.
fn votes_advice(members: &[Member]) -> Option<String> {
    match members.iter().filter(|member| member.role == MemberRole::Voter).count() {
        2 => Some("2 control nodes vote: without either of them nothing can be written; add a third".to_owned()),
        votes if votes > 0 && votes % 2 == 0 => {
            Some(format!("{votes} control nodes vote: they bear no more losses than {} would; add one, or remove one", votes - 1))
        }
        _ => None,
    }
}

async fn token(client: &Client, command: TokenCommand) -> Result<Reply, CliError> {
    match command {
        TokenCommand::Create(args) => {
            let role = match args.role {
                JoinAs::Agent => JoinRole::Agent,
                JoinAs::Control => JoinRole::Control,
            };
            let wanted = CreateJoinToken { role, expires_in: Some(args.expires), uses: args.uses };
            let made = client.create_join_token(&wanted).await?.object;
            let until = made.expires_at.map(|time| format!(", good until {}", shown(time))).unwrap_or_default();
            let reply = Reply::line(made.token.unwrap_or_default())
                .note(format!("join token created (id {}, role {}{until}); it is not shown again", made.id, made.role));
            Ok(match made.join_command {
                Some(command) => reply.note(format!("on the new host: {command}")),
                None => reply,
            })
        }
        TokenCommand::List(output) => Ok(Reply::view(ListView(client.join_tokens().await?), output.format)),
        TokenCommand::Revoke(args) => {
            let tokens = client.join_tokens().await?;
            let token = pick(&tokens, &args.id)?;
            client.revoke_join_token(token.id).await?;
            Ok(Reply::line(format!("join token {} revoked", token.id)))
        }
    }
}

/// Where an upgrade is, while it is under way.
fn level(status: &ClusterStatus) -> String {
    let (now, then) = (status.level, status.level_of_release);
    match status.lagging.as_slice() {
        [] => format!("{now}, every control node speaks {then}: it is raised soon, unless server.upgrade.hold is set"),
        names => format!("{now}, until {} can speak {then}", names.join(", ")),
    }
}

/// How the state of the cluster is shown.
#[cfg(test)]
pub(crate) fn status_view(status: ClusterStatus) -> impl View {
    StatusView(status)
}

/// The state of the cluster: facts, then the table of members.
struct StatusView(ClusterStatus);

impl View for StatusView {
    fn render(&self, format: Format, screen: Screen) -> Result<String, CliError> {
        let status = &self.0;
        if matches!(format, Format::Json | Format::Yaml) {
            return ObjectView(status).render(format, screen);
        }
        let name = |id: MemberId| status.members.iter().find(|m| m.id == id).map_or("?", |m| m.name.as_str());
        let leader = status.leader.map_or_else(|| "none".to_owned(), |id| format!("{} ({id})", name(id)));
        let facts = [
            ("cluster", status.id.to_string()),
            ("generation", if status.generation.is_empty() { "1".to_owned() } else { status.generation.clone() }),
            ("quorum", if status.quorum { "yes".to_owned() } else { "NO: writes are refused".to_owned() }),
            ("leader", leader),
            ("answered by", format!("{} ({})", name(status.member), status.member)),
            ("nodes", format!("{} of {} ready", status.nodes.ready, status.nodes.total)),
            ("revision", status.revision.to_string()),
            ("state digest", status.state_digest.clone()),
        ];
        let level = (status.level < status.level_of_release).then(|| level(status));
        let mut lines: Vec<_> = facts.iter().map(|(what, value)| format!("{what:<12}  {value}")).collect();
        let rotation =
            status.authority_rotation.iter().map(|rotation| format!("{:<12}  {}", "rotation", authority::told(rotation)));
        lines.extend(rotation);
        lines.extend(level.map(|level| format!("{:<12}  {level}", "level")));
        lines.extend(votes_advice(&status.members).map(|advice| format!("{:<12}  {advice}", "votes")));
        lines.push(String::new());
        lines.push(ListView(status.members.clone()).render(format, screen)?);
        Ok(lines.join("\n"))
    }
}
