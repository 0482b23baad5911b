//! What drivers share that keep their instances as processes and files of the host itself: record files, output, processes, locks
//! and hints, and what no disk may have.

pub mod hints;
pub mod locks;
pub mod logs;
pub mod notice;
pub mod proc;
pub mod record;
pub mod vault;
