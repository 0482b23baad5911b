//! Taking away what belongs to a VM and is no file of its instance.

use std::sync::Arc;
use std::time::Duration;

use ring_runtime::{RuntimeError, RuntimeErrorKind};
use ring_types::InstanceId;

use crate::driver::{Shared, remove_all};
use crate::record::{self, Vmm};
use crate::vmm;
use ring_runtime_host::proc;

impl Shared {
    /// Ends the VMM of an instance, takes its helpers, its network and its sockets away. Does nothing where there is nothing.
    pub(crate) async fn sweep(self: &Arc<Self>, instance: InstanceId) -> Result<(), RuntimeError> {
        let dir = self.dir(instance);
        let (looked, found) = (dir.clone(), dir.clone());
        let vmm = self.blocking(move |_| record::read::<Vmm>(&looked.vmm())).await?;
        if let Some(vmm) = vmm.filter(|vmm| vmm.boot == proc::boot_id())
            && !vmm::end(vmm.process, &self.api(&dir)).await
        {
            let message = format!("the VMM of instance {instance} (process {}) does not end", vmm.process.pid);
            return Err(RuntimeError::new(RuntimeErrorKind::Other, message));
        }
        // As long as there are sockets there may be a VMM whose record was not written any more.
        let strays = self.blocking(move |_| Ok(if found.sockets().exists() { vmm::find(&found) } else { Vec::new() })).await?;
        for stray in strays {
            vmm::kill_after(stray, Duration::ZERO).await;
        }
        self.unwire(instance).await?;
        self.blocking(move |_| remove_all(dir.sockets())).await
    }

    /// Counts its memory as free again.
    pub(crate) fn release(&self, instance: InstanceId) {
        self.ledger.release(instance);
    }
}
