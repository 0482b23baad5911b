//! How one field of ours is one field of a message.
//!
//! Two traits, because protobuf has two ways to write a message: alone (in a list, a map, a oneof) it is always there, as a
//! field it may be absent. [`Item`] is the first, [`Field`] the second; for numbers and texts they are the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use ring_state::{AuditedCommand, Command, Move};
use ring_types::{
    ClusterGeneration, ClusterId, ConfigId, Cpu, DeploymentId, Epoch, EventFilter, ExitStatus, Generation, Health, InstanceId,
    JoinTokenId, KeyId, Level, MemberId, Memory, Name, NodeId, RequestId, Revision, SecretId, Span, Timestamp, TokenId, UserId,
    VolumeId, WebhookId,
};

use crate::state::v1::Labels;
use crate::{Wire, WireError};

/// Which field is being read, for the error.
#[derive(Clone, Copy)]
pub(crate) struct At {
    pub(crate) message: &'static str,
    pub(crate) field: &'static str,
}

impl At {
    pub(crate) fn missing(self) -> WireError {
        WireError::Missing { message: self.message, field: self.field }
    }

    pub(crate) fn unknown(self, value: impl ToString) -> WireError {
        WireError::Unknown { message: self.message, field: self.field, value: value.to_string() }
    }
}

/// A value that is there: an element of a list or map, a member of a oneof, the inside of an option.
pub(crate) trait Item: Sized {
    /// Its type in the generated code.
    type Form;

    fn put(&self) -> Self::Form;

    fn get(form: Self::Form, at: At) -> Result<Self, WireError>;
}

/// A field of a message.
pub(crate) trait Field: Sized {
    /// Its type in the generated code.
    type Form;

    fn put(&self) -> Self::Form;

    fn get(form: Self::Form, at: At) -> Result<Self, WireError>;
}

impl<T: Wire> Item for T {
    type Form = T::Message;

    fn put(&self) -> T::Message {
        self.to_wire()
    }

    fn get(form: T::Message, _: At) -> Result<Self, WireError> {
        T::from_wire(form)
    }
}

impl<T: Wire> Field for T {
    type Form = Option<T::Message>;

    fn put(&self) -> Self::Form {
        Some(self.to_wire())
    }

    fn get(form: Self::Form, at: At) -> Result<Self, WireError> {
        T::from_wire(form.ok_or_else(|| at.missing())?)
    }
}

impl<T: Wire> Field for Arc<T> {
    type Form = Option<T::Message>;

    fn put(&self) -> Self::Form {
        Field::put(&**self)
    }

    fn get(form: Self::Form, at: At) -> Result<Self, WireError> {
        <T as Field>::get(form, at).map(Arc::new)
    }
}

impl<T: Wire> Item for Arc<T> {
    type Form = T::Message;

    fn put(&self) -> T::Message {
        self.to_wire()
    }

    fn get(form: T::Message, _: At) -> Result<Self, WireError> {
        T::from_wire(form).map(Arc::new)
    }
}

/// What stands inside itself is boxed in the generated code too.
impl Field for Box<Command> {
    type Form = Option<Box<<Command as Wire>::Message>>;

    fn put(&self) -> Self::Form {
        Some(Box::new(self.to_wire()))
    }

    fn get(form: Self::Form, at: At) -> Result<Self, WireError> {
        Command::from_wire(*form.ok_or_else(|| at.missing())?).map(Self::new)
    }
}

impl Item for Box<AuditedCommand> {
    type Form = Box<<AuditedCommand as Wire>::Message>;

    fn put(&self) -> Self::Form {
        Box::new(self.to_wire())
    }

    fn get(form: Self::Form, _: At) -> Result<Self, WireError> {
        AuditedCommand::from_wire(*form).map(Self::new)
    }
}

impl<T: Item> Field for Option<T> {
    type Form = Option<T::Form>;

    fn put(&self) -> Self::Form {
        self.as_ref().map(T::put)
    }

    fn get(form: Self::Form, at: At) -> Result<Self, WireError> {
        form.map(|form| T::get(form, at)).transpose()
    }
}

impl<T: Item> Field for Vec<T> {
    type Form = Vec<T::Form>;

    fn put(&self) -> Self::Form {
        self.iter().map(T::put).collect()
    }

    fn get(form: Self::Form, at: At) -> Result<Self, WireError> {
        form.into_iter().map(|form| T::get(form, at)).collect()
    }
}

impl<T: Item> Field for BTreeMap<String, T> {
    type Form = BTreeMap<String, T::Form>;

    fn put(&self) -> Self::Form {
        self.iter().map(|(key, value)| (key.clone(), value.put())).collect()
    }

    fn get(form: Self::Form, at: At) -> Result<Self, WireError> {
        form.into_iter().map(|(key, form)| Ok((key, T::get(form, at)?))).collect()
    }
}

/// A map inside an option: protobuf cannot tell an empty map from an absent one, so it stands in a message of its own.
impl Item for BTreeMap<String, String> {
    type Form = Labels;

    fn put(&self) -> Labels {
        Labels { entries: self.clone() }
    }

    fn get(form: Labels, _: At) -> Result<Self, WireError> {
        Ok(form.entries)
    }
}

/// Messages that stand behind a pointer where they are rare and the object that has them is not.
macro_rules! boxed {
    ($($type:ident)*) => {$(
        impl Item for Box<$type> {
            type Form = crate::state::v1::$type;

            fn put(&self) -> Self::Form {
                self.to_wire()
            }

            fn get(form: Self::Form, _: At) -> Result<Self, WireError> {
                $type::from_wire(form).map(Box::new)
            }
        }
    )*};
}

boxed! { ExitStatus Health Move }

/// Types that are one number, text or byte string: `Type as Form: |value| to form, |form, at| from form`.
macro_rules! scalars {
    ($($type:ty as $form:ty: $put:expr, $get:expr;)*) => {$(
        impl Item for $type {
            type Form = $form;

            fn put(&self) -> $form {
                let put: fn(&Self) -> $form = $put;
                put(self)
            }

            fn get(form: $form, at: At) -> Result<Self, WireError> {
                let get: fn($form, At) -> Result<Self, WireError> = $get;
                get(form, at)
            }
        }

        $crate::macros::field_is_item!($type);
    )*};
}

scalars! {
    bool as bool: |v| *v, |v, _| Ok(v);
    i32 as i32: |v| *v, |v, _| Ok(v);
    u32 as u32: |v| *v, |v, _| Ok(v);
    u64 as u64: |v| *v, |v, _| Ok(v);
    u16 as u32: |v| u32::from(*v), |v, at| u16::try_from(v).map_err(|_| at.unknown(v));
    String as String: Clone::clone, |v, _| Ok(v);
    Box<str> as String: |v| v.to_string(), |v, _| Ok(v.into());
    Vec<u8> as Vec<u8>: Clone::clone, |v, _| Ok(v);
    [u8; 32] as Vec<u8>: |v| v.to_vec(), fixed;
    Timestamp as i64: |v| v.0, |v, _| Ok(Self(v));
    Span as u64: |v| v.0, |v, _| Ok(Self(v));
    Cpu as u64: |v| v.0, |v, _| Ok(Self(v));
    Memory as u64: |v| v.0, |v, _| Ok(Self(v));
    MemberId as u64: |v| v.0, |v, _| Ok(Self(v));
    ClusterGeneration as u64: |v| v.0, |v, _| Ok(Self(v));
    KeyId as u64: |v| v.0, |v, _| Ok(Self(v));
    Level as u32: |v| if *v == Self::FIRST { 0 } else { v.0 }, |v, _| Ok(Self::of(v));
    Epoch as u64: |v| v.0, |v, _| Ok(Self(v));
    Generation as u64: |v| v.0, |v, _| Ok(Self(v));
    Revision as u64: |v| v.0, |v, _| Ok(Self(v));
    Name as String: |v| v.as_str().to_owned(), name;
    EventFilter as String: ToString::to_string, |v, at| v.parse().map_err(|_| at.unknown(v));
    ClusterId as Vec<u8>: |v| v.0.into_bytes().to_vec(), |v, at| uuid(&v, at).map(Self);
    DeploymentId as Vec<u8>: |v| v.0.into_bytes().to_vec(), |v, at| uuid(&v, at).map(Self);
    InstanceId as Vec<u8>: |v| v.0.into_bytes().to_vec(), |v, at| uuid(&v, at).map(Self);
    NodeId as Vec<u8>: |v| v.0.into_bytes().to_vec(), |v, at| uuid(&v, at).map(Self);
    SecretId as Vec<u8>: |v| v.0.into_bytes().to_vec(), |v, at| uuid(&v, at).map(Self);
    ConfigId as Vec<u8>: |v| v.0.into_bytes().to_vec(), |v, at| uuid(&v, at).map(Self);
    UserId as Vec<u8>: |v| v.0.into_bytes().to_vec(), |v, at| uuid(&v, at).map(Self);
    TokenId as Vec<u8>: |v| v.0.into_bytes().to_vec(), |v, at| uuid(&v, at).map(Self);
    VolumeId as Vec<u8>: |v| v.0.into_bytes().to_vec(), |v, at| uuid(&v, at).map(Self);
    WebhookId as Vec<u8>: |v| v.0.into_bytes().to_vec(), |v, at| uuid(&v, at).map(Self);
    JoinTokenId as Vec<u8>: |v| v.0.into_bytes().to_vec(), |v, at| uuid(&v, at).map(Self);
    RequestId as Vec<u8>: |v| v.0.into_bytes().to_vec(), |v, at| uuid(&v, at).map(Self);
}

fn uuid(bytes: &[u8], at: At) -> Result<uuid::Uuid, WireError> {
    if bytes.is_empty() {
        return Err(at.missing());
    }
    uuid::Uuid::from_slice(bytes).map_err(|_| at.unknown(format!("of {} bytes", bytes.len())))
}

fn name(text: String, at: At) -> Result<Name, WireError> {
    if text.is_empty() {
        return Err(at.missing());
    }
    Name::new(&text).map_err(|_| at.unknown(text))
}

fn fixed(bytes: Vec<u8>, at: At) -> Result<[u8; 32], WireError> {
    if bytes.is_empty() {
        return Err(at.missing());
    }
    bytes.try_into().map_err(|bytes: Vec<u8>| at.unknown(format!("of {} bytes", bytes.len())))
}
