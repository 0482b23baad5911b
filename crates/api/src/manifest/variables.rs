//! Where variables get their values.

use std::collections::BTreeMap;

/// Values by name.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Variables(BTreeMap<String, String>);

impl std::fmt::Debug for Variables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Values may be secrets.
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// A line of an env file that is no assignment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct EnvFileError {
    /// Which line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub message: String,
}

impl Variables {
    /// The given values.
    pub fn from_pairs<K: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        Self(pairs.into_iter().map(|(k, v)| (k.into(), v.into())).collect())
    }

    /// The environment of this process; what is not UTF-8 is left out.
    pub fn from_environment() -> Self {
        Self(std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect())
    }

    /// An env file: `NAME=value` lines, `#` comments, `export` in front and quotes around a value allowed.
    ///
    /// # Errors
    /// The first line that is no assignment.
    pub fn from_env_file(text: &str) -> Result<Self, EnvFileError> {
        let mut found = BTreeMap::new();
        for (i, line) in text.lines().enumerate() {
            let fail = |message: String| EnvFileError { line: i + 1, message };
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let line = line.strip_prefix("export ").unwrap_or(line);
            let (name, value) = line.split_once('=').ok_or_else(|| fail("NAME=value is wanted".to_owned()))?;
            let name = name.trim();
            if !is_name(name) {
                return Err(fail(format!("'{name}' is not the name of a variable")));
            }
            found.insert(name.to_owned(), unquote(value.trim()).map_err(fail)?);
        }
        Ok(Self(found))
    }

    /// The same with the values of `other`, which win.
    #[must_use]
    pub fn overridden_by(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

fn is_name(name: &str) -> bool {
    let start = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    start && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn unquote(value: &str) -> Result<String, String> {
    let Some(quote) = value.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
        let comment = value.find(" #").unwrap_or(value.len());
        return Ok(value[..comment].trim_end().to_owned());
    };
    let inside = &value[1..];
    let end = closing_quote(inside, quote).ok_or_else(|| format!("the {quote} has no end"))?;
    let tail = inside[end + 1..].trim_start();
    if !tail.is_empty() && !tail.starts_with('#') {
        return Err(format!("'{tail}' follows the closing {quote}"));
    }
    let inside = &inside[..end];
    if quote == '\'' {
        return Ok(inside.to_owned());
    }
    Ok(unescape(inside))
}

fn closing_quote(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (i, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote == '"' => escaped = true,
            c if c == quote => return Some(i),
            _ => {}
        }
    }
    None
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some(other) => out.push(other),
                None => out.push('\\'),
            },
            (c, false) => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_env_file_is_read() {
        let text = "# c\nA=1\nexport B = two words \nC=\"x \\\"y\\\"\\n\" # note\nD='$A #'\nE=a#b #c\nF=\n";
        let found = Variables::from_env_file(text).unwrap();
        let of = |name| found.get(name).unwrap();
        assert_eq!((of("A"), of("B"), of("C"), of("D"), of("E"), of("F")), ("1", "two words", "x \"y\"\n", "$A #", "a#b", ""));
    }

    #[test]
    fn a_bad_line_is_named() {
        for (text, line) in [("A=1\nB\n", 2), ("1A=x", 1), ("\nA='x", 2), ("A='x' y", 1)] {
            assert_eq!(Variables::from_env_file(text).unwrap_err().line, line, "{text}");
        }
    }

    #[test]
    fn the_environment_wins() {
        let file = Variables::from_pairs([("A", "file"), ("B", "file")]);
        let all = file.overridden_by(Variables::from_pairs([("A", "env")]));
        assert_eq!((all.get("A"), all.get("B")), (Some("env"), Some("file")));
    }
}
