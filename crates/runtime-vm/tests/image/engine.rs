//! An image of a real engine.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ring_runtime_vm::Roots;
use ring_runtime_vm::image::{EngineAt, Images, ImagesConfig};
use ring_types::PullPolicy;

use crate::registry::tar;
use crate::{debugfs, workload};

/// A daemon in a network namespace of its own. It ends when this is dropped.
struct Daemon {
    child: Child,
    dir: tempfile::TempDir,
    host: String,
}

impl Daemon {
    /// None, with a word on why, where there is none.
    fn start() -> Option<Self> {
        if !Path::new("/usr/sbin/dockerd").exists() || !rustix::process::geteuid().is_root() {
            crate::loud::skipped("there is no dockerd here, or no root");
            return None;
        }
        let dir = tempfile::Builder::new().prefix("ring-images").tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        let host = format!("unix://{}", path("docker.sock"));
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let child = Command::new("unshare")
            .args(["--net", "--mount", "--", "sh", "-c", "ip link set lo up; exec dockerd \"$@\"", "dockerd"])
            .args(["--data-root", &path("data"), "--exec-root", &path("exec"), "--pidfile", &path("pid")])
            .args(["--host", &host, "--storage-driver", "vfs"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let daemon = Self { child, dir, host };
        let begun = Instant::now();
        while !daemon.docker(&["version"], b"").0 {
            assert!(begun.elapsed() < Duration::from_mins(1), "the Docker daemon did not come up");
            std::thread::sleep(Duration::from_millis(100));
        }
        Some(daemon)
    }

    fn docker(&self, arguments: &[&str], input: &[u8]) -> (bool, String) {
        let mut child = Command::new("docker")
            .args(["-H", &self.host])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // It may not want any.
        let _ = stdin.write_all(input);
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap().trim().to_owned())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_of_the_engine_becomes_a_file_system() {
    let Some(daemon) = Daemon::start() else { return };
    let import = ["import", "--change", "CMD [\"/bin/app\"]", "--change", "ENV A=1", "-", "ring-test/app:v1"];
    let (imported, id) = daemon.docker(&import, &tar(&[("bin/app", "by hand"), ("etc/x", "x")]));
    assert!(imported);
    let config =
        ImagesConfig { engine: EngineAt::Address(daemon.host.clone()), ..ImagesConfig::new(daemon.dir.path().join("images")) };
    let images = Images::new(config);
    let never = workload("ring-test/app:v1", PullPolicy::Never, None);
    let root = images.ensure(&never).await.unwrap();
    assert_eq!((root.digest.as_str(), root.cmd.as_slice()), (id.as_str(), &["/bin/app".to_owned()][..]));
    assert!(root.env.contains(&"A=1".to_owned()));
    assert_eq!(debugfs(&root, "cat /bin/app"), "by hand");
    assert_eq!(images.ensure(&never).await.unwrap(), root, "it was made again");
    // Built anew under the same name: what is there counts.
    let (imported, _) = daemon.docker(&["import", "-", "ring-test/app:v1"], &tar(&[("bin/app", "again")]));
    assert!(imported);
    let newer = images.ensure(&workload("ring-test/app:v1", PullPolicy::IfNotPresent, None)).await.unwrap();
    assert_eq!(debugfs(&newer, "cat /bin/app"), "again");
    let none = images.ensure(&workload("ring-test/none:v1", PullPolicy::Never, None)).await.unwrap_err();
    assert!(none.message.contains("is not on this host"), "{none}");
}
