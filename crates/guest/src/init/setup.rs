//! Everything between a start and the execution.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use ring_guest::{Failed, Start, Step};

use super::root::World;
use super::stage::Surroundings;
use super::users::look_up;
use super::{files, mounts, names, network};

/// Where programs are looked for when nothing else is said.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Does what a start asks for; what is done of it stays when something fails, as the guest is of no more use then.
pub(super) fn apply(world: &World, start: &Start) -> Result<Surroundings, Failed> {
    let fail = |step| move |message| Failed { step, message };
    if world.own {
        network::apply(start.network.as_ref()).map_err(fail(Step::Network))?;
        names::apply(start).map_err(fail(Step::Network))?;
        mounts::apply(world, start).map_err(fail(Step::Mount))?;
        files::apply(&start.files).map_err(fail(Step::File))?;
    } else if !(start.mounts.is_empty() && start.tmpfs.is_empty() && start.files.is_empty() && start.network.is_none()) {
        return Err(fail(Step::Mount)("nothing can be mounted outside of namespaces of its own".to_owned()));
    }
    let user = look_up(&start.user).map_err(fail(Step::User))?;
    let cwd = if start.cwd.is_empty() { "/" } else { &start.cwd };
    work_dir(cwd).map_err(fail(Step::Mount))?;
    let mut env = start.env.clone();
    let mut default = |name: &str, value: &str| {
        if !env.iter().any(|(known, _)| known == name) {
            env.push((name.to_owned(), value.to_owned()));
        }
    };
    default("PATH", PATH);
    default("HOME", &user.home);
    let unchanged = !rustix::process::geteuid().is_root() && start.user.is_empty();
    Ok(Surroundings { env, cwd: cwd.to_owned(), ids: (!unchanged).then_some(user.ids) })
}

fn work_dir(path: &str) -> Result<(), String> {
    if Path::new(path).is_dir() {
        return Ok(());
    }
    let made = DirBuilder::new().mode(0o755).recursive(true).create(path);
    made.map_err(|error| format!("working directory '{path}': {error}"))
}

/// Makes what a mount needs to be put on, when there is nothing.
pub(super) fn make_point(path: &Path, is_dir: bool) -> std::io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    if is_dir {
        return fs::create_dir_all(path);
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::File::create_new(path).map(drop)
}

/// A path in the guest that something can be put on.
pub(super) fn destination(path: &str) -> Result<&Path, String> {
    let checked = Path::new(path);
    let below = checked.components().count() > 1 && !path.contains('\0');
    let plain = !checked.components().any(|part| part == std::path::Component::ParentDir);
    if checked.is_absolute() && below && plain {
        return Ok(checked);
    }
    Err(format!("destination '{path}': it has to be an absolute path below /, without .."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_below_the_root() {
        assert_eq!(destination("/a/b"), Ok(Path::new("/a/b")));
        for wrong in ["", "/", "a", "/a/../b", "/a\0"] {
            assert!(destination(wrong).is_err(), "{wrong:?}");
        }
    }
}
