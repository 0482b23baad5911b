//! The same by the runtime.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use ring_runtime::{Observed, Runtime, RuntimeError, Workload};
use ring_runtime_vm::{Host, RootImage, Roots, VmConfig, VmRuntime};
use ring_types::{DeploymentSpec, Generation, InstanceId, Kind, Memory, Name, Outcome, RuntimeKind, Span};
use uuid::Uuid;

use crate::{Booted, CMDLINE, MEMORY};

/// A runtime with one root for all images.
pub(crate) struct Ours {
    runtime: VmRuntime,
    config: VmConfig,
    _dir: tempfile::TempDir,
}

struct OneRoot(PathBuf);

#[async_trait]
impl Roots for OneRoot {
    async fn ensure(&self, _: &Workload) -> Result<RootImage, RuntimeError> {
        Ok(RootImage { disk: self.0.clone(), digest: "sha256:0000".to_owned(), ..RootImage::default() })
    }
}

impl Ours {
    pub(crate) async fn open(booted: &Booted) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = VmConfig {
            binary: booted.program.clone(),
            kernel: Some(booted.kernel.clone()),
            cmdline: CMDLINE.to_owned(),
            host: Host { cpus: 64, memory: Memory(1 << 50) },
            network: None,
            socket_dir: dir.path().join("s"),
            ..VmConfig::new(dir.path().join("data"))
        };
        let roots = Arc::new(OneRoot(booted.disk.clone()));
        let runtime = VmRuntime::with_roots(config.clone(), roots).await.unwrap();
        Self { runtime, config, _dir: dir }
    }

    /// Starts a machine that was prepared; how long it took until the runtime had it on the disk that it runs.
    pub(crate) async fn start(&self) -> (Duration, Workload) {
        let job = workload();
        self.runtime.prepare(&job).await.unwrap();
        let begun = Instant::now();
        self.runtime.start(job.instance).await.unwrap();
        let taken = begun.elapsed();
        assert!(matches!(self.runtime.inspect(job.instance).await.unwrap(), Observed::Running { .. }));
        (taken, job)
    }

    /// Stops it; how long it took until its VMM and its sockets were gone and its end was on the disk.
    pub(crate) async fn stop(&self, job: &Workload) -> Duration {
        let begun = Instant::now();
        self.runtime.stop(job.instance, Span::seconds(60)).await.unwrap();
        let sockets = self.config.socket_dir.join(job.instance.to_string());
        while sockets.exists() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let taken = begun.elapsed();
        let Observed::Exited { outcome, .. } = self.runtime.inspect(job.instance).await.unwrap() else { panic!("it runs") };
        assert_eq!(outcome, Outcome::Code(0));
        self.runtime.remove(job.instance).await.unwrap();
        taken
    }

    /// The process of its VMM.
    pub(crate) fn pid(&self, job: &Workload) -> u32 {
        let path = self.config.data_dir.join("instances").join(job.instance.to_string()).join("vmm");
        let record: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        u32::try_from(record["process"]["pid"].as_u64().unwrap()).unwrap()
    }
}

fn workload() -> Workload {
    let name = |text| Name::new(text).unwrap();
    let mut spec = DeploymentSpec::new(name("ns"), name("job"), Kind::Job, RuntimeKind::CloudHypervisor, "test:1");
    spec.command = vec!["app".to_owned()];
    spec.resources.limits.memory = Some(Memory(MEMORY));
    Workload {
        instance: InstanceId(Uuid::new_v4()),
        deployment: "00000000-0000-0000-0000-000000000001".parse().unwrap(),
        generation: Generation(1),
        spec: Arc::new(spec),
        environment: BTreeMap::new(),
        files: Vec::new(),
        registry: None,
    }
}
