//! What runs in the guest, and the two forms of its environment.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;

use ring_guest::Mount;

/// Finds the seed disk and runs what is on it. The disk is mounted where nobody but root can look.
pub(super) const BOOT: &str = "set -e; umask 077; mkdir -p /run/ring/seed; \
    mountpoint -q /run/ring/seed || mount -t vfat -o ro,umask=077 LABEL=CIDATA /run/ring/seed; \
    exec sh /run/ring/seed/ring-setup.sh";

/// Puts everything in its place. Runs at every boot; what it makes is in memory, but for empty mount points. What cannot be
/// mounted is said on the console, and the rest goes on.
const BEGIN: &str = r#"#!/bin/sh
set -u
seed=/run/ring/seed
kept=/run/ring/kept
umask 077
mkdir -p "$kept/files" "$kept/shares"
# The directories themselves can be passed through, but not be read.
chmod 711 /run/ring "$kept" "$kept/files" "$kept/shares"

fail() {
    echo "ring: $1" >&2
    echo "ring: $1" 2>/dev/null >/dev/console || true
}

# Makes a mount point for a file.
point() {
    (umask 022; mkdir -p "$(dirname "$1")"; [ -e "$1" ] || : > "$1")
}

# Shows a file in memory at its place, once.
show() {
    point "$2" && { mountpoint -q "$2" || mount --bind "$1" "$2"; } || fail "cannot mount $2"
}

# Mounts a share at its place: tag, options, destination.
share() {
    (umask 022; mkdir -p "$3")
    mountpoint -q "$3" || mount -t virtiofs -o "$2" "$1" "$3" || fail "cannot mount the share $1 at $3"
}

# Mounts what is inside a share at its place: tag, options, path, destination.
part() {
    share "$1" "$2" "$kept/shares/$1"
    if [ -d "$kept/shares/$1/$3" ]; then (umask 022; mkdir -p "$4"); else point "$4"; fi
    mountpoint -q "$4" || mount --bind "$kept/shares/$1/$3" "$4" || fail "cannot mount $4"
}

if [ -s "$seed/ring-environment" ]; then
    if [ ! -e "$kept/environment" ]; then
        { cat /etc/environment 2>/dev/null; echo; cat "$seed/ring-environment"; } > "$kept/environment"
        cat "$seed/ring-profile.sh" > "$kept/profile.sh"
        chmod 644 "$kept/environment" "$kept/profile.sh"
    fi
    show "$kept/environment" /etc/environment
    show "$kept/profile.sh" /etc/profile.d/ring.sh
fi
"#;

/// The script for these mounts and files.
pub(super) fn setup(mounts: &[Mount], files: &[&str]) -> io::Result<String> {
    let mut text = BEGIN.to_owned();
    let mut mounts: Vec<&Mount> = mounts.iter().collect();
    // What is above is mounted first, so that nothing is covered.
    mounts.sort_by_key(|mount| mount.destination.matches('/').count());
    for mount in mounts {
        let options = if mount.read_only { "ro" } else { "rw" };
        let (tag, destination) = (quote(&mount.tag)?, quote(&mount.destination)?);
        let _ = if mount.path.is_empty() {
            writeln!(text, "share {tag} {options} {destination}")
        } else {
            writeln!(text, "part {tag} {options} {} {destination}", quote(&mount.path)?)
        };
    }
    for (number, destination) in files.iter().enumerate() {
        let destination = quote(destination)?;
        let kept = format!("\"$kept/files/{number}\"");
        let _ = writeln!(text, "[ -e {kept} ] || {{ cat \"$seed/ring-file-{number}\" > {kept}; chmod 444 {kept}; }}");
        let _ = writeln!(text, "show {kept} {destination}");
    }
    text.push_str("exit 0\n");
    Ok(text)
}

/// As `/etc/environment` has it: lines of `NAME="value"`, read by PAM and, for services, by systemd. Neither can have a line end
/// in a value; such a variable is in the profile only.
pub(super) fn environment(all: &BTreeMap<String, String>) -> io::Result<String> {
    let mut text = String::new();
    for (name, value) in all {
        check(name, value)?;
        if !value.contains('\n') {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"");
            let _ = writeln!(text, "{name}=\"{value}\"");
        }
    }
    Ok(text)
}

/// For shells, where every value can be written.
pub(super) fn profile(all: &BTreeMap<String, String>) -> io::Result<String> {
    let mut text = String::new();
    for (name, value) in all {
        check(name, value)?;
        let _ = writeln!(text, "export {name}={}", quote(value)?);
    }
    Ok(text)
}

/// The message never has the value in it.
fn check(name: &str, value: &str) -> io::Result<()> {
    let mut letters = name.bytes();
    let first = letters.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if !first || !letters.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err(io::Error::other(format!("environment: '{name}' is not a name that a shell takes")));
    }
    if value.contains('\0') {
        return Err(io::Error::other(format!("environment: the value of '{name}' has a zero byte in it")));
    }
    Ok(())
}

/// One word for a shell, whatever is in it.
fn quote(word: &str) -> io::Result<String> {
    if word.contains('\0') {
        return Err(io::Error::other("a path has a zero byte in it"));
    }
    Ok(format!("'{}'", word.replace('\'', r"'\''")))
}
