//! Properties of every conversion: nothing is lost on the way out and back, and no bytes make a reader panic.

use proptest::collection::vec;
use proptest::prelude::*;
use ring_state::{Command, Entry, Event, InstanceReport, Reply, Row, RowKey, Table};
use ring_types::{DeploymentSpec, ExitStatus, NodeInfo};

use crate::Wire;
use crate::rows::{decode_row, encode_key, encode_row};
use crate::testing::{Sample, Source, any_of};

macro_rules! returns_unchanged {
    ($($test:ident: $type:ty;)*) => {$(
        proptest! {
            #[test]
            fn $test(value in any_of::<$type>()) {
                prop_assert_eq!(<$type>::decode(&value.encode()), Ok(value));
            }
        }
    )*};
}

returns_unchanged! {
    a_specification_returns_unchanged: DeploymentSpec;
    node_info_returns_unchanged: NodeInfo;
    an_exit_status_returns_unchanged: ExitStatus;
    a_report_returns_unchanged: InstanceReport;
    a_command_returns_unchanged: Command;
    an_entry_returns_unchanged: Entry;
    a_reply_returns_unchanged: Reply;
}

impl Sample for Row {
    fn sample(source: &mut Source<'_>) -> Self {
        let makers: [fn(&mut Source<'_>) -> Self; Table::ALL.len()] = [
            |s| Self::Meta(Sample::sample(s)),
            |s| Self::Namespace(Sample::sample(s)),
            |s| Self::Deployment(Sample::sample(s)),
            |s| Self::Instance(Sample::sample(s)),
            |s| Self::Node(Sample::sample(s)),
            |s| Self::Secret(Sample::sample(s)),
            |s| Self::Config(Sample::sample(s)),
            |s| Self::User(Sample::sample(s)),
            |s| Self::Token(Sample::sample(s)),
            |s| Self::JoinToken(Sample::sample(s)),
            |s| Self::Member(Sample::sample(s)),
            |s| Self::Event(Sample::sample(s)),
            |s| Self::Request(Sample::sample(s)),
            |s| Self::Clock(Sample::sample(s)),
            |s| Self::Volume(Sample::sample(s)),
            |s| Self::Audit(Sample::sample(s)),
            |s| Self::Webhook(Sample::sample(s)),
            |s| Self::Delivery(Sample::sample(s)),
            |s| Self::Leader(Sample::sample(s)),
            |s| Self::DataKey(Sample::sample(s)),
            |s| Self::CaRotation(Sample::sample(s)),
            |s| Self::Level(Sample::sample(s)),
        ];
        source.one_of(&makers)(source)
    }
}

/// What readers must survive: bytes without sense, and messages that were cut, changed or lengthened.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let whole = prop_oneof![
        any_of::<Entry>().prop_map(|entry| entry.encode()),
        any_of::<Row>().prop_map(|row| encode_row(&row)),
        any_of::<Reply>().prop_map(|reply| reply.encode()),
    ];
    let bent = (whole, any::<prop::sample::Index>(), any::<u8>(), any::<bool>());
    prop_oneof![
        vec(any::<u8>(), 0..300),
        bent.prop_map(|(mut bytes, at, byte, cut)| {
            let at = at.index(bytes.len() + 1);
            if cut {
                bytes.truncate(at);
            } else {
                bytes.splice(at..(at + 1).min(bytes.len()), [byte]);
            }
            bytes
        }),
    ]
}

/// A reader takes any bytes, and what it accepts is a value like any other.
fn survives<T: Wire + PartialEq>(bytes: &[u8]) -> bool {
    match T::decode(bytes) {
        Ok(value) => T::decode(&value.encode()) == Ok(value),
        Err(_) => true,
    }
}

proptest! {
    #[test]
    fn a_row_returns_unchanged(row in any_of::<Row>()) {
        prop_assert_eq!(decode_row(row.key().table(), &encode_row(&row)), Ok(row));
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in damaged()) {
        prop_assert!(survives::<Entry>(&bytes));
        prop_assert!(survives::<Command>(&bytes));
        prop_assert!(survives::<Reply>(&bytes));
        prop_assert!(survives::<DeploymentSpec>(&bytes));
        prop_assert!(survives::<InstanceReport>(&bytes));
        prop_assert!(survives::<NodeInfo>(&bytes));
        for table in Table::ALL {
            if let Ok(row) = decode_row(table, &bytes) {
                prop_assert_eq!(decode_row(table, &encode_row(&row)), Ok(row));
            }
        }
    }

    #[test]
    fn keys_sort_like_their_bytes(a in any_of::<Row>(), b in any_of::<Row>()) {
        let (a, b) = (a.key(), b.key());
        if a.table() == b.table() {
            prop_assert_eq!(a.cmp(&b), encode_key(&a).cmp(&encode_key(&b)));
        }
    }

    #[test]
    fn event_keys_sort_by_deployment_then_number(a in any_of::<Event>(), b in any::<u64>()) {
        let (first, second) = (RowKey::Event(a.deployment, a.id), RowKey::Event(a.deployment, b));
        prop_assert_eq!(first.cmp(&second), encode_key(&first).cmp(&encode_key(&second)));
    }
}
