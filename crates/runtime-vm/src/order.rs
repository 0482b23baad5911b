//! What a guest is told to start.

use std::collections::BTreeMap;

use ring_guest::{File, Start};
use ring_runtime::{RuntimeError, RuntimeErrorKind};
use ring_types::{InstanceId, StartFailure, UserConfig};

use crate::record::{Boot, Record, Wiring};
use crate::roots::RootImage;
use crate::vault::{Kept, KeptFile};

/// Everybody may read a config or a secret, and nobody write it.
const FILE_MODE: u32 = 0o444;

/// SIGTERM.
const TERM: i32 = 15;

/// Signals an image may name; the numbers of x86 and ARM.
const SIGNALS: [(&str, i32); 9] =
    [("HUP", 1), ("INT", 2), ("QUIT", 3), ("KILL", 9), ("USR1", 10), ("USR2", 12), ("TERM", 15), ("CONT", 18), ("WINCH", 28)];

/// The order for an OCI image.
pub(crate) fn start(instance: InstanceId, record: &Record, wiring: &Wiring, kept: Option<Kept>) -> Result<Start, RuntimeError> {
    let Boot::Image(image) = &record.boot else {
        let message = "a disk image is given no order";
        return Err(RuntimeError::new(RuntimeErrorKind::Other, message));
    };
    let kept = kept.ok_or_else(forgotten)?;
    let argv = argv(image, &record.spec.command);
    if argv.is_empty() {
        let message = format!("image '{}' has no command: give one in `command`", record.spec.image);
        return Err(RuntimeError::new(RuntimeErrorKind::Start(StartFailure::Create), message));
    }
    Ok(Start {
        argv,
        env: environment(image, kept.environment),
        cwd: image.working_dir.clone().unwrap_or_default(),
        user: user(record.spec.config.user).or_else(|| image.user.clone()).unwrap_or_default(),
        hostname: hostname(instance, record),
        mounts: wiring.mounts.clone(),
        tmpfs: Vec::new(),
        files: kept.files.into_iter().map(file).collect(),
        network: wiring.network.clone(),
    })
}

/// What was prepared before a restart of the host, or where there is no file system in memory.
pub(crate) fn forgotten() -> RuntimeError {
    let message = "its environment is gone: it is never on disk, and the host was restarted before the start";
    RuntimeError::new(RuntimeErrorKind::Start(StartFailure::Config), message)
}

/// As a container engine has it: the image's entry point stays, its arguments are replaced.
fn argv(image: &RootImage, command: &[String]) -> Vec<String> {
    let arguments = if command.is_empty() { &image.cmd } else { command };
    image.entrypoint.iter().chain(arguments).cloned().collect()
}

fn environment(image: &RootImage, own: BTreeMap<String, String>) -> Vec<(String, String)> {
    let pairs = image.env.iter().filter_map(|pair| pair.split_once('='));
    let mut all: BTreeMap<String, String> = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    all.extend(own);
    all.into_iter().collect()
}

fn user(user: UserConfig) -> Option<String> {
    match (user.id, user.group) {
        (None, None) => None,
        (Some(id), None) => Some(id.to_string()),
        (id, Some(group)) => Some(format!("{}:{group}", id.unwrap_or(0))),
    }
}

/// The deployment's name and what tells its instances apart, within the 64 bytes a host name has.
pub(crate) fn hostname(instance: InstanceId, record: &Record) -> String {
    let id = instance.to_string();
    let end = &id[id.len() - 8..];
    let name: String = record.spec.name.as_str().chars().take(55).collect();
    format!("{name}-{end}").replace('_', "-")
}

fn file(file: KeptFile) -> File {
    File { destination: file.destination, content: file.content.0, mode: FILE_MODE, uid: 0, gid: 0 }
}

/// The signal that asks a workload to end: the image's own, or SIGTERM.
pub(crate) fn stop_signal(record: &Record) -> i32 {
    let Boot::Image(image) = &record.boot else { return TERM };
    let Some(named) = image.stop_signal.as_deref() else { return TERM };
    let bare = named.trim().trim_start_matches("SIG");
    let known = SIGNALS.iter().find(|(name, _)| *name == bare).map(|(_, number)| *number);
    known.or_else(|| realtime(bare)).or_else(|| bare.parse().ok().filter(|number| (1..=64).contains(number))).unwrap_or(TERM)
}

/// `RTMIN+n`: what some init systems ask for.
fn realtime(name: &str) -> Option<i32> {
    let offset = name.strip_prefix("RTMIN")?;
    let offset: i32 = if offset.is_empty() { 0 } else { offset.strip_prefix('+')?.parse().ok()? };
    (0..=30).contains(&offset).then_some(34 + offset)
}

#[cfg(test)]
mod tests {
    use ring_types::{DeploymentSpec, Generation, Kind, Memory, Name, RuntimeKind};

    use super::*;

    fn record(image: RootImage) -> Record {
        let name = |text| Name::new(text).unwrap();
        let spec = DeploymentSpec::new(name("ns"), name("web"), Kind::Job, RuntimeKind::CloudHypervisor, "app:1");
        let deployment = "00000000-0000-0000-0000-000000000001".parse().unwrap();
        Record { deployment, generation: Generation(1), spec, boot: Boot::Image(image), cpus: 1, memory: Memory(1) }
    }

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    fn instance() -> InstanceId {
        "00000000-0000-0000-0000-0000abcdef12".parse().unwrap()
    }

    #[test]
    fn an_image_gives_what_the_deployment_does_not() {
        let image = RootImage {
            entrypoint: words(&["/entry"]),
            cmd: words(&["serve"]),
            env: words(&["PATH=/opt/bin", "MODE=image"]),
            user: Some("app".to_owned()),
            working_dir: Some("/srv".to_owned()),
            ..RootImage::default()
        };
        let mut record = record(image);
        let kept = Kept { environment: BTreeMap::from([("MODE".to_owned(), "own".to_owned())]), ..Kept::default() };
        let told = start(instance(), &record, &Wiring::default(), Some(kept.clone())).unwrap();
        assert_eq!((told.argv, told.user, told.cwd), (words(&["/entry", "serve"]), "app".to_owned(), "/srv".to_owned()));
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(told.env, [pair("MODE", "own"), pair("PATH", "/opt/bin")]);
        assert_eq!(told.hostname, "web-abcdef12");
        record.spec.command = words(&["migrate"]);
        record.spec.config.user.group = Some(7);
        let told = start(instance(), &record, &Wiring::default(), Some(kept)).unwrap();
        assert_eq!((told.argv, told.user), (words(&["/entry", "migrate"]), "0:7".to_owned()));
    }

    #[test]
    fn what_cannot_be_started_is_said() {
        let record = record(RootImage::default());
        let refused = start(instance(), &record, &Wiring::default(), Some(Kept::default())).unwrap_err();
        assert!(refused.message.contains("app:1") && refused.message.contains("`command`"), "{refused}");
        assert!(start(instance(), &record, &Wiring::default(), None).unwrap_err().message.contains("environment is gone"));
    }

    #[test]
    fn an_image_may_name_the_signal_that_ends_it() {
        let of = |named: Option<&str>| {
            stop_signal(&record(RootImage { stop_signal: named.map(str::to_owned), ..RootImage::default() }))
        };
        let cases =
            [(None, 15), (Some("SIGQUIT"), 3), (Some("INT"), 2), (Some("10"), 10), (Some("SIGRTMIN+3"), 37), (Some("x"), 15)];
        for (named, number) in cases {
            assert_eq!(of(named), number, "{named:?}");
        }
    }
}
