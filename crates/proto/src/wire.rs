//! How a type of ours is written to the wire and to disk.

/// A message that does not say what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A field that is always there is not.
    #[error("{message}.{field} is missing")]
    Missing {
        /// The message.
        message: &'static str,
        /// The field.
        field: &'static str,
    },
    /// A field has a value this release does not know.
    #[error("{message}.{field} has the unknown value {value}")]
    Unknown {
        /// The message.
        message: &'static str,
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
    },
    /// The bytes are not this message at all.
    #[error("not a {message}: {cause}")]
    Malformed {
        /// The message.
        message: &'static str,
        /// What the decoder says.
        cause: String,
    },
}

/// A type with a protobuf form. `from_wire(to_wire(x)) == x`.
pub trait Wire: Sized {
    /// Its generated message.
    type Message: prost::Message + Default;

    /// The message of this value.
    fn to_wire(&self) -> Self::Message;

    /// The value of a message.
    ///
    /// # Errors
    /// [`WireError`] when a field is missing or has an unknown value.
    fn from_wire(message: Self::Message) -> Result<Self, WireError>;

    /// The bytes of this value.
    fn encode(&self) -> Vec<u8> {
        prost::Message::encode_to_vec(&self.to_wire())
    }

    /// The value of some bytes.
    ///
    /// # Errors
    /// [`WireError`] when they are not that message, or a field is missing or unknown.
    fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let message = <Self::Message as prost::Message>::decode(bytes)
            .map_err(|e| WireError::Malformed { message: std::any::type_name::<Self>(), cause: e.to_string() })?;
        Self::from_wire(message)
    }
}
