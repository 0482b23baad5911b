//! The runtime with everything the product has: our init for guests, and images from engines and registries.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ring_runtime::{RuntimeError, RuntimeErrorKind};

use crate::config::VmConfig;
use crate::driver::{Shared, VmRuntime};
use crate::image::{Images, initramfs};
use crate::record::{self, Boot, Record};

/// Root file systems nobody uses are looked for so often.
const CLEANING: Duration = Duration::from_hours(1);

/// One that no instance has, and nobody asked for in this time, goes.
const UNUSED: Duration = Duration::from_hours(7 * 24);

impl VmRuntime {
    /// Opens the runtime: writes the initramfs with our init when none is configured, makes its directories, finishes what an
    /// earlier agent was cut off in, and watches what still runs. Root file systems that no instance has are taken away when
    /// nobody asked for them in a week.
    ///
    /// [`RuntimeErrorKind::Other`] when the directories cannot be made or read. That the host lacks something is no error here:
    /// see [`ring_runtime::Runtime::probe`].
    pub async fn new(mut config: VmConfig) -> Result<Self, RuntimeError> {
        if config.initramfs.is_none() {
            let (dir, modules) = (config.data_dir.join("boot"), config.modules.clone());
            let written = tokio::task::spawn_blocking(move || initramfs(&dir, &modules)).await;
            let path = written.unwrap_or_else(|error| Err(std::io::Error::other(error)));
            let failed = |error| RuntimeError::new(RuntimeErrorKind::Other, format!("initramfs of micro-VMs: {error}"));
            config.initramfs = Some(path.map_err(failed)?);
        }
        let images = Arc::new(Images::new(config.images.clone()));
        let runtime = Self::with_roots(config, Arc::clone(&images) as Arc<_>).await?;
        let shared = Arc::clone(&runtime.shared);
        tokio::spawn(async move {
            let ended = shared.ended.clone();
            ended.run_until_cancelled(shared.clean_images(&images)).await
        });
        Ok(runtime)
    }
}

impl Shared {
    async fn clean_images(self: &Arc<Self>, images: &Images) {
        loop {
            let in_use = self.blocking(Self::disks_in_use).await;
            let cleaned = match in_use {
                Ok(in_use) => images.clean(&in_use, UNUSED).await.map_err(|error| error.to_string()),
                // Without knowing what is in use nothing is taken away.
                Err(error) => Err(error.message),
            };
            match cleaned {
                Ok(0) => {}
                Ok(count) => tracing::info!(count, "root file systems that nobody uses are gone"),
                Err(error) => tracing::warn!(%error, "root file systems that nobody uses are kept"),
            }
            tokio::time::sleep(CLEANING).await;
        }
    }

    /// The root file systems of all instances.
    fn disks_in_use(&self) -> std::io::Result<HashSet<PathBuf>> {
        let mut all = HashSet::new();
        for entry in std::fs::read_dir(self.config.instances())? {
            if let Some(Record { boot: Boot::Image(image), .. }) = record::read::<Record>(&entry?.path().join("record"))? {
                all.insert(image.disk);
            }
        }
        Ok(all)
    }
}
