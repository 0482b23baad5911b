//! Log entries.

use ring_state::{
    Action, ApplyConfig, ApplyDeployment, AuditedCommand, Bootstrap, CaConfirm, CaStep, Command, CreateVolume, EnrolMember,
    EnrolNode, Entry, NewCa, NewDataKey, NewGeneration, NodeChange, NodeUpdate, PlacementNote, Rebalance, Relocation, Reseal,
    Resealed, SealedValue, Succession, TokenRotation, TokenUse, UserUpdate,
};

message! {
    Entry => Entry { at, request, command }
    Bootstrap => Bootstrap {
        cluster, ca_certificate, ca_key_sealed, member_name, address, api_address, admin, admin_password_hash,
        data_key_sealed, level,
    }
    ApplyConfig => ApplyConfig { id, namespace, name, data, labels }
    ApplyDeployment => ApplyDeployment { id, spec, registry_password, volumes }
    CreateVolume => CreateVolume { id, namespace, name, driver, source, labels, node }
    Succession => Succession { id, successor, rollout_deadline }
    EnrolNode => EnrolNode { token, node, name, member, labels }
    EnrolMember => EnrolMember { token, name, address, api_address }
    UserUpdate => UserUpdate { id, username, password_hash, role }
    TokenRotation => TokenRotation { id, hash }
    TokenUse => TokenUse { token, at }
    NodeChange => NodeChange { node, epoch, status, held, silent_since }
    NodeUpdate => NodeUpdate { node, labels, schedulable, drain, lost, until_return }
    PlacementNote => PlacementNote { deployment, failure }
    Rebalance => Rebalance { moves, within }
    Relocation => Relocation { instance, to }
    AuditedCommand => AuditedCommand { note, command }
    NewCa => NewCa { certificate, key_sealed }
    CaConfirm => CaConfirm { rotation, phase, members, nodes }
    CaStep => CaStep { rotation, phase, force }
    NewGeneration => NewGeneration { generation, member, name, address, api_address }
    NewDataKey => NewDataKey { id, sealed }
    Reseal => Reseal { key, values }
    Resealed => Resealed { value, sealed }
}

oneof! {
    Command => Command in command {
        values {
            Bootstrap, UpdateUser, CreateToken, CreateJoinToken, EnrolNode, EnrolMember, UpdateNode, CreateVolume,
            Audited, BeginGeneration, ConfirmCa, Hook, Rebalance, Reseal, RestartDeployment, RollbackDeployment, RotateCa, RotateDataKey, RotateToken, StepCa,
        }
        records {
            Apply { namespaces, configs, deployments, force, rollout_deadline },
            DeleteDeployments { ids },
            Prune { namespace, all },
            CreateNamespace { name },
            DeleteNamespace { name },
            PutSecret { id, namespace, name, sealed, key, create },
            DeleteSecret { id, force },
            PutConfig { id, namespace, name, data, labels, create },
            DeleteConfig { id, force },
            DeleteVolume { id, force },
            CreateUser { id, username, password_hash, role },
            DeleteUser { id },
            RevokeTokens { ids },
            NoteTokenUse { uses },
            RevokeJoinToken { id },
            UpdateMember { id, address, api_address },
            ActivateMember { id },
            RemoveMember { id },
            RegisterNode { node, boot, info },
            SetNodeStatus { changes },
            RemoveNode { node },
            Claim { node, epoch, instances },
            Report { node, epoch, reports },
            RecordAudit { records },
            SettleDataKey { key },
            Plan { actions },
            RaiseLevel { level },
        }
        tuples {}
    }
}

oneof! {
    Action => Action in action {
        values { NotePlacement }
        records {
            CreateInstance { id, deployment, slot, attempt, node, restart },
            SetGoal { instance, goal, cause },
            LoseInstance { instance },
            DropMove { instance },
            ForgetInstance { instance },
            SetStatus { deployment, status, reason, message, conditions, exit },
            ForgiveRestarts { deployment },
            NoteRollout { deployment, ready },
            EndRollout { deployment, phase, reason, message },
            ForgetDeployment { deployment },
            Autoscale { deployment, from, replicas, message },
        }
        tuples {}
    }
}

oneof! {
    SealedValue => SealedValue in sealed_value {
        values {}
        records { Secret { id, version }, Password { deployment, digest }, Webhook { id, key } }
        tuples {}
    }
}
