//! The pages of this program that only its start has needed.

use std::fs;
use std::ops::Range;
use std::time::Duration;

use rustix::mm::{Advice, madvise};

/// Time from the start of a node until its start is over: it has read what it kept, joined and connected, or has failed to.
const STARTED: Duration = Duration::from_secs(10);

/// Takes the code of this program out of this process's memory once the node has started: the kernel maps again what runs after
/// that, a fraction, from the page cache; see docs/design/0028-code-that-only-the-start-needs.md.
pub(super) async fn leave_the_start_behind() {
    tokio::time::sleep(STARTED).await;
    match unmap_code() {
        Ok(bytes) => tracing::debug!("the code of the start is no longer in memory: {bytes} bytes of the program were unmapped"),
        Err(reason) => tracing::debug!("the code of the start stays in memory: {reason}"),
    }
}

/// Takes every page of this program's code out of this process's memory; returns the bytes of the mapping.
fn unmap_code() -> Result<usize, String> {
    let maps = fs::read_to_string("/proc/self/maps").map_err(|e| format!("/proc/self/maps: {e}"))?;
    let code = code(&maps, unmap_code as *const () as usize).ok_or("the program's code is in no mapping of its own")?;
    let start = std::ptr::with_exposed_provenance_mut(code.start);
    // SAFETY: The pages are those of a file's mapping that cannot be written to, so that each is the file's; nothing can change
    // that file while it is executed (ETXTBSY). Whoever runs or reads there next gets the same bytes by a page fault.
    #[expect(unsafe_code, reason = "advice about memory has no safe form")]
    unsafe { madvise(start, code.len(), Advice::LinuxDontNeed) }.map_err(|e| format!("madvise: {e}"))?;
    Ok(code.len())
}

/// The mapping of `/proc/PID/maps` that has the address `within` and is code of a file: private, readable, executable, and never
/// writable since it was mapped.
fn code(maps: &str, within: usize) -> Option<Range<usize>> {
    maps.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let range = usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?;
        let (rights, inode) = (fields.next()?, fields.nth(2)?);
        (range.contains(&within) && rights == "r-xp" && inode != "0").then_some(range)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_of_a_file_is_taken() {
        let maps = "1000-3000 r-xp 00000000 fe:00 7 /usr/bin/ring\n3000-4000 rw-p 00002000 fe:00 7 /usr/bin/ring\n\
                    5000-6000 r-xp 00000000 00:00 0 [vdso]\n7000-8000 rwxp 00000000 fe:00 7 /usr/bin/ring\n";
        assert_eq!(code(maps, 0x1000), Some(0x1000..0x3000));
        assert_eq!(code(maps, 0x2fff), Some(0x1000..0x3000));
        for other in [0xfff, 0x3000, 0x5000, 0x7000, 0x9000] {
            assert_eq!(code(maps, other), None, "{other:x}");
        }
        assert_eq!(code("nothing of this\n", 0), None);
    }
}
