//! How many instances a deployment is to have.

use ring_types::{DeploymentSpec, Kind, Timestamp};

use crate::Deployment;

/// The number of instances the load of a deployment has led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// So many.
    pub replicas: u32,
    /// When it was last changed by the load; None when it never was.
    pub at: Option<Timestamp>,
}

impl Deployment {
    /// A job that was told to be over. It stays over: a plan that says otherwise was made before that was known.
    pub fn is_over(&self) -> bool {
        self.spec.kind == Kind::Job && self.status.is_final()
    }

    /// How many instances there should be: what is asked for, or where the load has led to within the bounds.
    pub fn wanted(&self) -> u32 {
        match (self.spec.kind, &self.spec.autoscale, &self.scale) {
            (Kind::Worker, Some(bounds), Some(scale)) => bounds.within(scale.replicas),
            _ => self.spec.wanted(),
        }
    }

    /// What a deployment of this specification goes on with when it takes the place of this one, or becomes it: a new
    /// version does not begin with fewer instances than the load needs.
    pub fn handed_on(&self, spec: &DeploymentSpec) -> Option<Scale> {
        let scales = |spec: &DeploymentSpec| spec.kind == Kind::Worker && spec.autoscale.is_some();
        let at = self.scale.and_then(|scale| scale.at);
        (scales(&self.spec) && scales(spec)).then(|| Scale { replicas: self.wanted(), at })
    }
}
