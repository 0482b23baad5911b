//! Values of every type, made from bytes: proptest gives the bytes and shrinks them, which shrinks the value.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use ring_types::{
    ClusterGeneration, ClusterId, ConfigId, Cpu, DeploymentId, Epoch, EventFilter, Generation, InstanceId, JoinTokenId, KeyId,
    Level, MemberId, Memory, Name, NodeId, RequestId, Revision, SecretId, Span, Timestamp, TokenId, UserId, VolumeId, WebhookId,
};
use uuid::Uuid;

/// Bytes that decide what a sample is; after its end come zeros, which make the smallest values.
pub(crate) struct Source<'a>(&'a [u8]);

impl Source<'_> {
    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let (taken, rest) = self.0.split_at(N.min(self.0.len()));
        self.0 = rest;
        let mut bytes = [0; N];
        bytes[..taken.len()].copy_from_slice(taken);
        bytes
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::from(self.bytes::<1>()[0]) % limit
    }

    /// One of the choices.
    pub(crate) fn one_of<'c, T>(&mut self, choices: &'c [T]) -> &'c T {
        &choices[self.below(choices.len())]
    }

    /// A number of any length, so that small ones and the largest ones both come often.
    fn number(&mut self) -> u64 {
        let width = self.below(9) as u32 * 8;
        let bits = u64::from_le_bytes(self.bytes());
        if width == 0 { 0 } else { bits >> (64 - width) }
    }
}

/// A type whose values can be made from bytes.
pub(crate) trait Sample: Sized + 'static {
    fn sample(source: &mut Source<'_>) -> Self;
}

/// Any value of a type.
pub(crate) fn any_of<T: Sample + std::fmt::Debug>() -> impl Strategy<Value = T> {
    vec(any::<u8>(), 0..2000).prop_map(|bytes| T::sample(&mut Source(&bytes)))
}

macro_rules! sample {
    ($($type:ty: $make:expr;)*) => {$(
        impl Sample for $type {
            fn sample(source: &mut Source<'_>) -> Self {
                let make: fn(&mut Source<'_>) -> Self = $make;
                make(source)
            }
        }
    )*};
}

sample! {
    bool: |s| s.below(2) == 1;
    u16: |s| s.number() as u16;
    u32: |s| s.number() as u32;
    i32: |s| s.number() as i32;
    u64: |s| s.number();
    u8: |s| s.bytes::<1>()[0];
    [u8; 32]: |s| s.bytes();
    Timestamp: |s| Self(s.number() as i64);
    Span: |s| Self(s.number());
    Cpu: |s| Self(s.number());
    Memory: |s| Self(s.number());
    MemberId: |s| Self(s.number());
    ClusterGeneration: |s| Self(s.number());
    KeyId: |s| Self(s.number());
    Level: |s| Self::of(s.number() as u32);
    Epoch: |s| Self(s.number());
    Generation: |s| Self(s.number());
    Revision: |s| Self(s.number());
    ClusterId: |s| Self(Uuid::from_bytes(s.bytes()));
    DeploymentId: |s| Self(Uuid::from_bytes(s.bytes()));
    InstanceId: |s| Self(Uuid::from_bytes(s.bytes()));
    NodeId: |s| Self(Uuid::from_bytes(s.bytes()));
    SecretId: |s| Self(Uuid::from_bytes(s.bytes()));
    ConfigId: |s| Self(Uuid::from_bytes(s.bytes()));
    VolumeId: |s| Self(Uuid::from_bytes(s.bytes()));
    WebhookId: |s| Self(Uuid::from_bytes(s.bytes()));
    EventFilter: |s| s.one_of(&EventFilter::known()).parse().unwrap();
    UserId: |s| Self(Uuid::from_bytes(s.bytes()));
    TokenId: |s| Self(Uuid::from_bytes(s.bytes()));
    JoinTokenId: |s| Self(Uuid::from_bytes(s.bytes()));
    RequestId: |s| Self(Uuid::from_bytes(s.bytes()));
    String: |s| (*s.one_of(&["", "a", "web", "ü\u{0}\n", "node", "registry.example/x:1"])).to_owned();
    Box<str>: |s| String::sample(s).into();
    Name: |s| s.one_of(&["0", "web", "A-b_c.9"]).parse().unwrap();
}

impl<T: Sample> Sample for Option<T> {
    fn sample(source: &mut Source<'_>) -> Self {
        bool::sample(source).then(|| T::sample(source))
    }
}

impl<T: Sample> Sample for Vec<T> {
    fn sample(source: &mut Source<'_>) -> Self {
        (0..source.below(4)).map(|_| T::sample(source)).collect()
    }
}

impl<T: Sample> Sample for BTreeMap<String, T> {
    fn sample(source: &mut Source<'_>) -> Self {
        (0..source.below(4)).map(|_| (String::sample(source), T::sample(source))).collect()
    }
}

impl<T: Sample> Sample for Arc<T> {
    fn sample(source: &mut Source<'_>) -> Self {
        Self::new(T::sample(source))
    }
}

impl<T: Sample> Sample for Box<T> {
    fn sample(source: &mut Source<'_>) -> Self {
        Self::new(T::sample(source))
    }
}
