//! The manifests of the guide "Run a job", word for word, and what applying them makes.

use std::path::{Path, PathBuf};

/// A manifest of the guide.
#[derive(Debug, Clone, Copy)]
pub struct GuideManifest {
    /// Its file in [`folder`].
    pub file: &'static str,
    /// Its text.
    pub text: &'static str,
    /// The deployments it makes with [`VARIABLES`], as `namespace/name`, in its order.
    pub deployments: &'static [&'static str],
}

macro_rules! manifest {
    ($file:literal makes $($deployment:literal)+) => {
        GuideManifest {
            file: $file,
            text: include_str!(concat!("../../../cluster/manifests/seed/", $file)),
            deployments: &[$($deployment),+],
        }
    };
}

/// All of them, in the guide's order.
pub const GUIDE: [GuideManifest; 5] = [
    manifest!("migrate.yaml" makes "production/migrate"),
    manifest!("migrate-v123.yaml" makes "production/migrate-v123"),
    UNIQUE,
    manifest!("release.yaml" makes "production/migrate-v1-2-3" "production/api"),
    manifest!("backfill.yaml" makes "data-jobs/backfill-orders-2026-04-15"),
];

/// The one that is called by the build it belongs to.
pub const UNIQUE: GuideManifest = manifest!("test.yaml" makes "ci/test-42");

/// The variables the manifests name.
pub const VARIABLES: [(&str, &str); 2] = [("BUILD_ID", "42"), ("COMMIT_SHA", "abc123")];

/// Where the files are.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cluster/manifests/seed")
}

impl GuideManifest {
    /// Its file.
    pub fn path(&self) -> PathBuf {
        folder().join(self.file)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_file_is_left_out() {
        let files = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let listed: BTreeSet<_> = GUIDE.iter().map(|manifest| manifest.file.to_owned()).collect();
        assert_eq!(files.collect::<BTreeSet<_>>(), listed);
    }
}
