//! The seed disk of cloud-init for disk images that are booted as they are.
