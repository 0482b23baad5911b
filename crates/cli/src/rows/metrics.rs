//! What instances use.

use ring_api::model::InstanceMetrics;

use super::size;
use crate::output::{Cell, Row};

impl Row for InstanceMetrics {
    const COLUMNS: &'static [(&'static str, bool)] = &[
        ("Instance", false),
        ("Node", false),
        ("Slot", true),
        ("Cpu", false),
        ("Memory", false),
        ("Limit", false),
        ("Received", false),
        ("Sent", false),
        ("Read", true),
        ("Written", true),
        ("Processes", true),
    ];

    fn cells(&self) -> Vec<Cell> {
        let usage = self.usage.as_ref();
        let bytes = |amount: Option<u64>| -> Cell { amount.map(size).unwrap_or_default().into() };
        vec![
            self.instance.to_string().into(),
            self.node.as_str().into(),
            self.slot.to_string().into(),
            usage.map(|usage| format!("{}m", usage.cpu_millis)).unwrap_or_default().into(),
            bytes(usage.map(|usage| usage.memory_bytes)),
            bytes(usage.and_then(|usage| usage.memory_limit_bytes)),
            bytes(usage.and_then(|usage| usage.network_received_bytes)),
            bytes(usage.and_then(|usage| usage.network_sent_bytes)),
            bytes(usage.and_then(|usage| usage.block_read_bytes)),
            bytes(usage.and_then(|usage| usage.block_written_bytes)),
            usage.and_then(|usage| usage.processes).map(|count| count.to_string()).unwrap_or_default().into(),
        ]
    }
}
