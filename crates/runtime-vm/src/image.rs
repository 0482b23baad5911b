//! From an image to what a guest boots: a read-only root file system, and an initramfs with our init.
//!
//! An image comes from the host's Docker engine, when there is one that has it, or straight from its registry. Its layers are put on
//! top of each other and become one ext4 file system, kept by the digest of the image's configuration, which names the content
//! wherever it came from. Instances share it; what they write is in their own memory.

mod cache;
mod config;
mod disk;
mod engine;
mod init;
mod layer;
mod registry;
mod unpack;

use std::collections::HashSet;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use oci_client::Reference;
use ring_runtime::registry::{HostClient, Refused, login, never_fetched};
use ring_runtime::{RuntimeError, RuntimeErrorKind, Workload};
use ring_types::{PullPolicy, StartFailure};
use tempfile::TempDir;
use tokio::sync::Semaphore;

use cache::Cache;
use config::Config;
pub use engine::EngineAt;
use engine::{Engine, Here};
pub use init::{init_size, initramfs};
use layer::Layer;
use registry::Remote;
use unpack::{Stop, Unpacker};

use crate::roots::{RootImage, Roots};

/// A registry that has not answered by then counts as out of reach when the image is on the host anyway.
const REACH: Duration = Duration::from_secs(10);

/// And when it is not.
const PATIENCE: Duration = Duration::from_mins(1);

/// File systems made at the same time: each keeps a processor and the disk busy.
const AT_ONCE: usize = 2;

/// Where images come from and where they are kept.
#[derive(Clone, Debug)]
pub struct ImagesConfig {
    /// Directory of the file systems, of nothing else. Made when it is not there.
    pub dir: PathBuf,
    /// The host's Docker engine.
    pub engine: EngineAt,
    /// Configuration of the client that logged in to registries on this host. None: the usual place.
    pub logins: Option<PathBuf>,
    /// Registries, as `host:port`, that are spoken to without TLS. Those on loopback always are.
    pub plain: Vec<String>,
    /// Most bytes the files of one image may have together.
    pub largest: u64,
}

impl ImagesConfig {
    /// The defaults: images of up to 32 GiB.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), engine: EngineAt::default(), logins: None, plain: Vec::new(), largest: 32 << 30 }
    }
}

/// The root file systems of one host.
pub struct Images {
    config: ImagesConfig,
    cache: Cache,
    engine: Engine,
    slots: Semaphore,
}

/// Where an image that is on the host is.
enum Local {
    Ready(Box<RootImage>),
    Engine(Here),
}

impl Images {
    /// Nothing is done before the first image is asked for.
    pub fn new(config: ImagesConfig) -> Self {
        // Fails when a provider is installed already, which then serves.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (cache, engine) = (Cache::new(config.dir.clone()), Engine::new(&config.engine));
        Self { config, cache, engine, slots: Semaphore::new(AT_ONCE) }
    }

    /// Takes away file systems that are not among `in_use` and were not asked for within `unused`; gives how many. What was just
    /// asked for is not known to be in use yet, so `unused` is not to be shorter than an instance takes to be recorded.
    pub async fn clean(&self, in_use: &HashSet<PathBuf>, unused: Duration) -> io::Result<usize> {
        self.cache.open().await?;
        self.cache.clean(in_use, unused)
    }

    async fn look(&self, image: &str) -> Option<Local> {
        let Some(here) = self.engine.find(image).await else {
            return self.cache.recall(image).map(|root| Local::Ready(Box::new(root)));
        };
        let ready = self.cache.recall(&here.id).map(|root| RootImage { digest: here.told.clone(), ..root });
        Some(ready.map_or(Local::Engine(here), |root| Local::Ready(Box::new(root))))
    }

    /// Gives what is on the host.
    async fn local(&self, image: &str, local: Local) -> Result<RootImage, RuntimeError> {
        let here = match local {
            Local::Ready(root) => return Ok(*root),
            Local::Engine(here) => here,
        };
        let broken = |error: String| refuse(StartFailure::ImagePull, format!("image '{image}' of the host's engine: {error}"));
        // Nobody saves twice what he does not know yet to be the same.
        let _claim = self.cache.claim(&here.id).await;
        if let Some(root) = self.cache.recall(&here.id) {
            return Ok(RootImage { digest: here.told, ..root });
        }
        let workshop = self.workshop(image)?;
        let (config, layers) = self.engine.save(&here, workshop.path().join("image.tar")).await.map_err(broken)?;
        let config = Config::parse(&config).map_err(broken)?;
        // An engine may name an image by the digest of its configuration: then that is claimed already.
        let _claim = if config.digest == here.id { None } else { Some(self.cache.claim(&config.digest).await) };
        let root = match self.cache.find(&config.digest, &here.told) {
            Some(root) => root,
            None => self.make(image, &config, &here.told, layers, workshop).await?,
        };
        for name in [image, here.id.as_str()] {
            self.remember(name, &config.digest, &here.told);
        }
        Ok(root)
    }

    async fn remote(&self, image: &str, remote: &Remote, patience: Duration) -> Result<RootImage, Refused> {
        let own = |error| Refused { error, by_registry: true };
        let described = remote.describe(patience).await?;
        let broken = |error: String| own(refuse(StartFailure::ImagePull, format!("image '{image}': {error}")));
        let config = Config::parse(&described.config).map_err(broken)?;
        let _claim = self.cache.claim(&config.digest).await;
        let root = if let Some(root) = self.cache.find(&config.digest, &described.digest) {
            root
        } else {
            let workshop = self.workshop(image).map_err(own)?;
            let layers = remote.fetch(&described.layers, workshop.path()).await?;
            self.make(image, &config, &described.digest, layers, workshop).await.map_err(own)?
        };
        self.remember(image, &config.digest, &described.digest);
        Ok(root)
    }

    fn workshop(&self, image: &str) -> Result<Arc<TempDir>, RuntimeError> {
        self.cache.workshop().map(Arc::new).map_err(|error| self.no_room(image, &error))
    }

    /// A name that is not remembered costs a question to a registry, no more.
    fn remember(&self, name: &str, image: &str, told: &str) {
        if let Err(error) = self.cache.remember(name, image, told) {
            tracing::warn!(name, %error, "what is behind the name of an image was not written down");
        }
    }

    /// Makes the file system, and puts it where it is found.
    async fn make(
        &self,
        image: &str,
        config: &Config,
        told: &str,
        layers: Vec<Layer>,
        workshop: Arc<TempDir>,
    ) -> Result<RootImage, RuntimeError> {
        let failed = |error: &io::Error| self.no_room(image, error);
        if layers.len() != config.layers.len() {
            let message = format!("image '{image}': it has {} layers and says {}", layers.len(), config.layers.len());
            return Err(refuse(StartFailure::ImagePull, message));
        }
        // Fails only when it is closed, which it never is.
        let _slot = self.slots.acquire().await;
        let stop = StopOnDrop(Stop::new(AtomicBool::new(false)));
        let unpacking = {
            let (workshop, digests) = (Arc::clone(&workshop), config.layers.clone());
            let (largest, stop) = (self.config.largest, Arc::clone(&stop.0));
            move || unpack_all(&layers, &digests, workshop.path(), largest, stop)
        };
        let tree = tokio::task::spawn_blocking(unpacking).await.map_err(|error| failed(&io::Error::other(error)))?;
        let tree = tree.map_err(|error| failed(&error))?;
        let unfinished = Cache::unfinished(workshop.path()).map_err(|error| failed(&error))?;
        disk::make(tree, &unfinished).await.map_err(|error| failed(&error))?;
        let root = described(config);
        self.cache.publish(workshop.path(), &config.digest, &root).map_err(|error| failed(&error))?;
        let made = self.cache.find(&config.digest, told);
        made.ok_or_else(|| failed(&io::Error::other("the file system was taken away while it was made")))
    }

    fn no_room(&self, image: &str, error: &io::Error) -> RuntimeError {
        let dir = self.config.dir.display();
        refuse(StartFailure::FileSystem, format!("image '{image}': its root file system was not made in {dir}: {error}"))
    }

    async fn always(&self, image: &str, remote: &Remote, known: bool) -> Result<RootImage, RuntimeError> {
        let here = self.look(image).await;
        let patience = if here.is_some() { REACH } else { PATIENCE };
        let refused = match self.remote(image, remote, patience).await {
            Ok(root) => return Ok(root),
            Err(refused) => refused,
        };
        match here {
            Some(here) if !refused.is_final(known) => {
                tracing::warn!(image, error = %refused.error, "the image was not fetched; the one on this host is used");
                self.local(image, here).await
            }
            _ => Err(refused.error),
        }
    }
}

#[async_trait]
impl Roots for Images {
    /// `Always` is content with an image of the host unless the registry has the last word: see [`Refused::is_final`].
    async fn ensure(&self, workload: &Workload) -> Result<RootImage, RuntimeError> {
        let image = workload.spec.image.as_str();
        self.cache.open().await.map_err(|error| self.no_room(image, &error))?;
        let reference: Reference = image.parse().map_err(|error| {
            refuse(StartFailure::ImageNotFound, format!("image '{image}': it is no name of an image: {error}"))
        })?;
        let file = self.config.logins.as_deref();
        let login = login(workload, reference.registry(), HostClient::Docker, file).await?;
        let known = login.is_some();
        let remote = || Remote::new(image, reference, login, &self.config.plain);
        match workload.spec.config.image_pull_policy {
            PullPolicy::Always => self.always(image, &remote()?, known).await,
            policy => match (self.look(image).await, policy) {
                (Some(here), _) => self.local(image, here).await,
                (None, PullPolicy::Never) => Err(never_fetched(image)),
                (None, _) => self.remote(image, &remote()?, PATIENCE).await.map_err(|refused| refused.error),
            },
        }
    }
}

fn refuse(cause: StartFailure, message: String) -> RuntimeError {
    RuntimeError::new(RuntimeErrorKind::Start(cause), message)
}

/// Ends an unpacking that nobody waits for any more.
struct StopOnDrop(Stop);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// All layers on top of each other. What a layer has in it is what the image says, or nothing is made of it.
fn unpack_all(layers: &[Layer], digests: &[String], workshop: &Path, largest: u64, stop: Stop) -> io::Result<PathBuf> {
    let tree = workshop.join("tree");
    fs::create_dir(&tree)?;
    fs::set_permissions(&tree, Permissions::from_mode(0o755))?;
    let mut unpacker = Unpacker::new(&tree, largest, stop)?;
    for (layer, digest) in layers.iter().zip(digests) {
        let mut archive = layer.open()?;
        unpacker.layer(&mut archive)?;
        let found = archive.finish()?;
        if found != *digest {
            return Err(io::Error::other(format!("a layer is {found}, and the image says {digest}")));
        }
        // It is not needed any more, and the disk may be small.
        if layer.offset == 0 {
            let _ = fs::remove_file(&layer.file);
        }
    }
    unpacker.finish();
    Ok(tree)
}

fn described(config: &Config) -> RootImage {
    let run = config.run.clone();
    let some = |text: Option<String>| text.filter(|text| !text.is_empty());
    RootImage {
        disk: PathBuf::new(),
        digest: String::new(),
        entrypoint: run.entrypoint.unwrap_or_default(),
        cmd: run.cmd.unwrap_or_default(),
        env: run.env.unwrap_or_default(),
        user: some(run.user),
        working_dir: some(run.working_dir),
        stop_signal: some(run.stop_signal),
    }
}
