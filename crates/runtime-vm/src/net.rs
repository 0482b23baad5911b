//! Networks of micro-VMs: taps, addresses, the way out, and published ports.
