//! Names of the examples. The matches are exhaustive: a new variant needs a name here, and a name needs an example.

use ring_state::{Action, Command, HookCommand, Reply, Row};

macro_rules! names {
    ($($function:ident($type:ident) { $($variant:ident),* $(,)? })*) => {
        $(
            pub(crate) fn $function(value: &$type) -> String {
                match value { $($type::$variant { .. } => format!("{}_{}", stringify!($function), stringify!($variant))),* }
            }
        )*

        /// Every name there has to be.
        pub(crate) const ALL: &[&str] = &[$($(concat!(stringify!($function), "_", stringify!($variant))),*),*];
    };
}

names! {
    command(Command) {
        Bootstrap, Apply, DeleteDeployments, Prune, CreateNamespace, DeleteNamespace, PutSecret, DeleteSecret, PutConfig,
        DeleteConfig, CreateUser, UpdateUser, DeleteUser, CreateToken, RevokeTokens, RotateToken, NoteTokenUse, CreateJoinToken, RevokeJoinToken, EnrolNode,
        EnrolMember, CreateVolume, DeleteVolume, UpdateMember, ActivateMember, RemoveMember, RegisterNode, SetNodeStatus,
        UpdateNode, RemoveNode, Claim, Report, Plan, RestartDeployment, RollbackDeployment, Audited, RecordAudit,
        RotateDataKey, Reseal, SettleDataKey, RotateCa, ConfirmCa, StepCa, Hook, BeginGeneration, Rebalance, RaiseLevel,
    }
    hook(HookCommand) { Create, Delete, Test, Redeliver, Settle, NoteLeader }
    action(Action) {
        CreateInstance, SetGoal, LoseInstance, ForgetInstance, SetStatus, NotePlacement, ForgiveRestarts, ForgetDeployment,
        NoteRollout, EndRollout, Autoscale, DropMove,
    }
    reply(Reply) { Done, Refused, Deployments, Deleted, Member, Node, Epoch, Claims, Planned }
    row(Row) {
        Meta, Namespace, Deployment, Instance, Node, Secret, Config, User, Token, JoinToken, Member, Event, Request, Clock,
        Volume, Audit, Webhook, Delivery, Leader, DataKey, CaRotation, Level,
    }
}

macro_rules! enums {
    ($($type:ident)*) => {
        /// Every value of every enum with its number, a line each.
        pub(crate) fn enums() -> String {
            let mut lines = String::new();
            $(for number in 0..=1000 {
                if let Ok(value) = ring_proto::state::v1::$type::try_from(number) {
                    lines.push_str(&format!("{number} {}\n", value.as_str_name()));
                }
            })*
            lines
        }
    };
}

enums! {
    CaPhase CheckAction Condition DependencyCondition DeploymentStatus EventKind EventLevel Goal HookKind InstanceState JoinRole Kind MemberState
    NetworkMode NodeStatus OnNodeLoss Permission Protocol PullPolicy RefusalCode Role RolloutPhase RuntimeKind StartFailure StopCause UnknownExit
    VolumeDriver VolumeKind
}
