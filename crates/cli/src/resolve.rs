//! From what a person types to the one object that is meant: an id, a unique prefix of one, a name.

use crate::error::CliError;
use crate::suggest::near;

/// An object that can be typed.
pub(crate) trait Named {
    /// What a message calls it.
    const KIND: &'static str;

    /// Its id.
    fn id(&self) -> String;

    /// Its full names: `namespace/name`, or just its name.
    fn full_name(&self) -> String;

    /// Its short name, where that differs: taken when only one has it.
    fn short_name(&self) -> Option<&str> {
        None
    }

    /// Of several with the same name, this one is meant.
    fn preferred(&self) -> bool {
        true
    }
}

/// How an object is typed: `by FIELD`, its one name; or by `namespace/name`.
macro_rules! named {
    ($object:ty as $kind:literal by $name:ident) => {
        impl $crate::resolve::Named for $object {
            const KIND: &'static str = $kind;

            fn id(&self) -> String {
                self.id.to_string()
            }

            fn full_name(&self) -> String {
                self.$name.to_string()
            }
        }
    };
    ($object:ty as $kind:literal by namespace / name) => {
        impl $crate::resolve::Named for $object {
            const KIND: &'static str = $kind;

            fn id(&self) -> String {
                self.id.to_string()
            }

            fn full_name(&self) -> String {
                format!("{}/{}", self.namespace, self.name)
            }

            fn short_name(&self) -> Option<&str> {
                Some(&self.name)
            }
        }
    };
}
pub(crate) use named;

/// Shortest prefix of an id that is taken for one.
const MIN_PREFIX: usize = 4;

/// Finds the one that is meant: by id, by full name, by prefix of an id, by short name, in this order.
pub(crate) fn pick<'a, T: Named>(items: &'a [T], wanted: &str) -> Result<&'a T, CliError> {
    let lower = wanted.to_lowercase();
    let by_id = |item: &&T| item.id() == lower;
    let by_name = |item: &&T| item.full_name() == wanted;
    let by_prefix = |item: &&T| wanted.len() >= MIN_PREFIX && item.id().starts_with(&lower);
    let by_short = |item: &&T| item.short_name() == Some(wanted);
    let ways: [&dyn Fn(&&T) -> bool; 4] = [&by_id, &by_name, &by_prefix, &by_short];
    for way in ways {
        let found: Vec<&T> = items.iter().filter(way).collect();
        if let Some(one) = only(&found) {
            return Ok(one);
        }
        if !found.is_empty() {
            let matches = found.iter().map(|item| format!("{}  {}", item.id(), item.full_name())).collect();
            return Err(CliError::Ambiguous { kind: T::KIND, wanted: wanted.to_owned(), matches });
        }
    }
    Err(CliError::NotFound { kind: T::KIND, wanted: wanted.to_owned(), near: nearest(items, wanted) })
}

/// The name that was probably meant.
pub(crate) fn nearest<T: Named>(items: &[T], wanted: &str) -> Option<String> {
    if !wanted.contains('/')
        && let Some(short) = near(wanted, items.iter().filter_map(T::short_name))
    {
        return Some(short);
    }
    near(wanted, items.iter().map(T::full_name))
}

fn only<'a, T: Named>(found: &[&'a T]) -> Option<&'a T> {
    let same_name = found.windows(2).all(|pair| pair[0].full_name() == pair[1].full_name());
    let preferred: Vec<_> = found.iter().filter(|item| item.preferred()).copied().collect();
    match (found, preferred.as_slice()) {
        ([one], _) => Some(one),
        (_, [one]) if same_name => Some(one),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Thing(&'static str, &'static str, bool);

    impl Named for Thing {
        const KIND: &'static str = "thing";

        fn id(&self) -> String {
            self.0.to_owned()
        }

        fn full_name(&self) -> String {
            self.1.to_owned()
        }

        fn short_name(&self) -> Option<&str> {
            self.1.split_once('/').map(|(_, name)| name)
        }

        fn preferred(&self) -> bool {
            self.2
        }
    }

    #[test]
    fn one_is_found_in_every_way() {
        let things = [Thing("aaaa1", "n/web", true), Thing("aaaa2", "n/job", true), Thing("bbbb1", "m/web", true)];
        for (typed, id) in [("aaaa1", "aaaa1"), ("n/web", "aaaa1"), ("bbbb", "bbbb1"), ("job", "aaaa2"), ("BBBB1", "bbbb1")] {
            assert_eq!(pick(&things, typed).map(Named::id).unwrap(), id, "{typed}");
        }
        assert!(matches!(pick(&things, "aaaa"), Err(CliError::Ambiguous { matches, .. }) if matches.len() == 2));
        assert!(matches!(pick(&things, "web"), Err(CliError::Ambiguous { .. })));
        assert!(matches!(pick(&things, "bb"), Err(CliError::NotFound { near: None, .. })));
        for (typed, meant) in [("wbe", "web"), ("m/wbe", "m/web"), ("x/job", "n/job")] {
            let error = pick(&things, typed).map(Named::id).unwrap_err();
            assert_eq!(error.to_string(), format!("thing '{typed}' not found; did you mean '{meant}'?"));
        }
    }

    #[test]
    fn of_one_name_the_live_one_is_meant() {
        let things = [Thing("aaaa1", "n/web", false), Thing("aaaa2", "n/web", true)];
        assert_eq!(pick(&things, "n/web").unwrap().0, "aaaa2");
        assert_eq!(pick(&things, "web").unwrap().0, "aaaa2");
    }
}
