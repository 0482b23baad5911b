//! How each object of the API looks as a row, and by which names it is found.

mod access;
mod audit;
mod cluster;
mod deployment;
mod metrics;
mod objects;
mod rebalance;
mod webhook;

/// Bytes in the largest unit that keeps one decimal of meaning.
fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)];
    let unit = UNITS.iter().find(|(_, scale)| bytes >= *scale);
    unit.map_or_else(|| bytes.to_string(), |(name, scale)| format!("{}.{}{name}", bytes / scale, bytes % scale * 10 / scale))
}
