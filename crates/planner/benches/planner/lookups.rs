//! Look-ups by name and by namespace, beside more and more objects of other namespaces.

use std::hint::black_box;
use std::time::{Duration, Instant};

use ring_state::{Command, Entry, Refusal, RefusalCode, Reply, State};
use ring_types::{Name, RequestId};

use crate::stats::Times;
use crate::table::Table;
use crate::world::{World, name};

/// Calls of which the time is taken together.
const CALLS: u32 = 100;

type LookUp = fn(&mut State, &Name, &Name);

/// All in a namespace of ten deployments, one secret and one config, which comes after all others by name.
pub(crate) fn measure(worlds: &[World], times: usize) -> Table {
    let mut table = Table::new(&["look-up", "deployments, secrets and configs of others", "time", "to the first"]);
    let all: [(&str, LookUp); 7] = [
        ("deployment_named", |state, space, _| assert!(black_box(state.deployment_named(space, &name("service-3"))).is_some())),
        ("deployments_in", |state, space, _| assert_eq!(black_box(state.deployments_in(space).count()), 10)),
        ("secret_named", |state, space, record| assert!(black_box(state.secret_named(space, record)).is_some())),
        ("secrets_in", |state, space, _| assert_eq!(black_box(state.secrets_in(space).count()), 1)),
        ("config_named", |state, space, record| assert!(black_box(state.config_named(space, record)).is_some())),
        ("configs_in", |state, space, _| assert_eq!(black_box(state.configs_in(space).count()), 1)),
        ("delete of a namespace in use, refused", |state, space, _| {
            let command = Command::DeleteNamespace { name: space.clone() };
            let entry = Entry { at: state.clock(), request: RequestId::NONE, command };
            let reply = state.apply(state.revision().next(), &entry).reply;
            assert!(matches!(reply, Reply::Refused(Refusal { code: RefusalCode::Conflict, .. })), "{reply:?}");
        }),
    ];
    let (space, record) = (name("zz-small"), name("record"));
    for (what, look_up) in all {
        let mut measured = vec![Vec::new(); worlds.len()];
        for _ in 0..times {
            for (n, world) in worlds.iter().enumerate() {
                let mut state = world.state.clone();
                let begin = Instant::now();
                for _ in 0..CALLS {
                    look_up(&mut state, &space, &record);
                }
                measured[n].push(begin.elapsed() / CALLS);
            }
        }
        let medians: Vec<Duration> = measured.into_iter().map(|times| Times::new(times).median()).collect();
        for (world, median) in worlds.iter().zip(&medians) {
            table.row([
                what.to_owned(),
                world.state.secrets().count().to_string(),
                format!("{} ns", median.as_nanos()),
                format!("{:.2} times", median.as_secs_f64() / medians[0].as_secs_f64()),
            ]);
        }
    }
    table
}
