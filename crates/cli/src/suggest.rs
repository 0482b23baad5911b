//! The name a person meant, when what was typed is nobody's.

/// The nearest of `names`, when it is near enough to have been meant. A name that is right but for its namespace is.
pub(crate) fn near<S: AsRef<str>>(wanted: &str, names: impl IntoIterator<Item = S>) -> Option<String> {
    let lower = wanted.to_lowercase();
    let most = (lower.chars().count() / 3).max(1);
    let last = |name: &str| name.rsplit('/').next().unwrap_or(name).to_owned();
    let distance = |name: &str| {
        let name = name.to_lowercase();
        if name.contains('/') && lower.contains('/') && last(&name) == last(&lower) {
            return 0;
        }
        strsim::damerau_levenshtein(&lower, &name)
    };
    let scored = names.into_iter().map(|name| (distance(name.as_ref()), name.as_ref().to_owned()));
    scored.filter(|(distance, _)| *distance <= most).min().map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_is_meant_and_what_is_far_is_not() {
        let names = ["web", "worker", "api"];
        for (typed, meant) in
            [("wbe", Some("web")), ("Web", Some("web")), ("worke", Some("worker")), ("database", None), ("x", None)]
        {
            assert_eq!(near(typed, names).as_deref(), meant, "{typed}");
        }
    }

    #[test]
    fn the_right_name_in_the_wrong_namespace_is_near() {
        let names = ["staging/web", "production/api"];
        assert_eq!(near("prod/web", names).as_deref(), Some("staging/web"));
        assert_eq!(near("production/apo", names).as_deref(), Some("production/api"));
        assert_eq!(near("prod/mail", names), None);
    }
}
