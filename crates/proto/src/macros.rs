//! Macros that say once how a type of ours and a message correspond. Each also makes the type a [`Sample`] in tests, so that
//! no field can be left out of the round-trip tests.
//!
//! [`Sample`]: crate::testing::Sample

/// Makes an [`Item`](crate::field::Item) a [`Field`](crate::field::Field) of the same form.
macro_rules! field_is_item {
    ($type:ty) => {
        impl $crate::field::Field for $type {
            type Form = <Self as $crate::field::Item>::Form;

            fn put(&self) -> Self::Form {
                $crate::field::Item::put(self)
            }

            fn get(form: Self::Form, at: $crate::field::At) -> Result<Self, $crate::WireError> {
                <Self as $crate::field::Item>::get(form, at)
            }
        }
    };
}
pub(crate) use field_is_item;

/// Reads one field of a message.
macro_rules! take {
    ($name:expr, $message:ident . $field:ident) => {
        $crate::field::Field::get($message.$field, $crate::field::At { message: $name, field: stringify!($field) })?
    };
}

/// `Type => Message { fields }`: a struct whose message has the same fields.
macro_rules! message {
    ($($type:ty => $message:ident { $($field:ident),* $(,)? })*) => {$(
        impl $crate::Wire for $type {
            type Message = $crate::state::v1::$message;

            fn to_wire(&self) -> Self::Message {
                Self::Message { $($field: $crate::field::Field::put(&self.$field)),* }
            }

            fn from_wire(message: Self::Message) -> Result<Self, $crate::WireError> {
                Ok(Self { $($field: take!(stringify!($message), message.$field)),* })
            }
        }

        #[cfg(test)]
        impl $crate::testing::Sample for $type {
            fn sample(source: &mut $crate::testing::Source<'_>) -> Self {
                Self { $($field: $crate::testing::Sample::sample(source)),* }
            }
        }
    )*};
}

/// `Type => Message in module { … }`: an enum whose message has a oneof `kind`.
///
/// - `values`: variants with one value, which is the oneof's member itself;
/// - `records`: variants with named fields (or none), which have a nested message of the same name and fields;
/// - `tuples`: variants with unnamed fields, which have a nested message with the fields named here.
macro_rules! oneof {
    ($type:ty => $message:ident in $module:ident {
        values { $($value:ident),* $(,)? }
        records { $($record:ident { $($field:ident),* $(,)? }),* $(,)? }
        tuples { $($tuple:ident ( $($part:ident),* )),* $(,)? }
    }) => {
        const _: () = {
            use $crate::field::At;
            use $crate::state::v1::$module as wire;

            impl $crate::Wire for $type {
                type Message = $crate::state::v1::$message;

                fn to_wire(&self) -> Self::Message {
                    let kind = match self {
                        $(Self::$value(value) => wire::Kind::$value($crate::field::Item::put(value)),)*
                        $(Self::$record { $($field),* } => {
                            wire::Kind::$record(wire::$record { $($field: $crate::field::Field::put($field)),* })
                        })*
                        $(Self::$tuple($($part),*) => wire::Kind::$tuple(wire::$tuple { $($part: $crate::field::Field::put($part)),* }),)*
                    };
                    Self::Message { kind: Some(kind) }
                }

                #[allow(unused_variables)] // A record without fields.
                fn from_wire(message: Self::Message) -> Result<Self, $crate::WireError> {
                    let at = At { message: stringify!($message), field: "kind" };
                    Ok(match message.kind.ok_or_else(|| at.missing())? {
                        $(wire::Kind::$value(form) => {
                            Self::$value($crate::field::Item::get(form, At { field: stringify!($value), ..at })?)
                        })*
                        $(wire::Kind::$record(record) => {
                            Self::$record { $($field: take!(concat!(stringify!($message), ".", stringify!($record)), record.$field)),* }
                        })*
                        $(wire::Kind::$tuple(tuple) => {
                            Self::$tuple($(take!(concat!(stringify!($message), ".", stringify!($tuple)), tuple.$part)),*)
                        })*
                    })
                }
            }

            #[cfg(test)]
            impl $crate::testing::Sample for $type {
                fn sample(source: &mut $crate::testing::Source<'_>) -> Self {
                    use $crate::testing::Sample;
                    let makers: &[fn(&mut $crate::testing::Source<'_>) -> Self] = &[
                        $(|source| Self::$value(Sample::sample(source)),)*
                        $(|_source| Self::$record { $($field: Sample::sample(_source)),* },)*
                        $(|source| Self::$tuple($({ stringify!($part); Sample::sample(source) }),*),)*
                    ];
                    source.one_of(makers)(source)
                }
            }
        };
    };
}

/// `Type => Enum { variants }`: an enum without data. Its message enum has the same variants and `Unspecified`, which stands
/// for a field that was never written.
macro_rules! enumeration {
    ($($type:ty => $wire:ident { $($variant:ident),* $(,)? })*) => {$(
        impl From<$type> for $crate::state::v1::$wire {
            fn from(value: $type) -> Self {
                match value { $(<$type>::$variant => Self::$variant),* }
            }
        }

        impl TryFrom<$crate::state::v1::$wire> for $type {
            type Error = $crate::WireError;

            fn try_from(value: $crate::state::v1::$wire) -> Result<Self, $crate::WireError> {
                match value {
                    $($crate::state::v1::$wire::$variant => Ok(Self::$variant),)*
                    $crate::state::v1::$wire::Unspecified => {
                        Err($crate::WireError::Missing { message: stringify!($wire), field: "value" })
                    }
                }
            }
        }

        impl $crate::field::Item for $type {
            type Form = i32;

            fn put(&self) -> i32 {
                $crate::state::v1::$wire::from(*self) as i32
            }

            fn get(form: i32, at: $crate::field::At) -> Result<Self, $crate::WireError> {
                if form == 0 {
                    return Err(at.missing());
                }
                let known = $crate::state::v1::$wire::try_from(form).map_err(|_| at.unknown(form))?;
                Self::try_from(known)
            }
        }

        $crate::macros::field_is_item!($type);

        #[cfg(test)]
        impl $crate::testing::Sample for $type {
            fn sample(source: &mut $crate::testing::Source<'_>) -> Self {
                *source.one_of(&[$(Self::$variant),*])
            }
        }
    )*};
}
