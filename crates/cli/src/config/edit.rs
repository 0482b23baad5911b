//! Changes of `config.toml` that leave everything else in it, comments too, as it is.

use std::path::Path;

use toml_edit::{DocumentMut, Item, Table, value};

use super::ContextSection;
use crate::error::CliError;

/// Makes a context the current one.
///
/// # Errors
/// When the file cannot be read or written.
pub(crate) fn use_context(path: &Path, name: &str) -> Result<(), CliError> {
    let mut file = read(path)?;
    if let Some(contexts) = file.get_mut("contexts").and_then(Item::as_table_like_mut) {
        for (key, section) in contexts.iter_mut() {
            if let Some(section) = section.as_table_like_mut() {
                section.insert("current", value(key.get() == name));
            }
        }
    }
    write(path, &file)
}

/// Writes where the control nodes of a context are and whom to trust there; the first context of a file is the current one.
///
/// # Errors
/// When the file cannot be read or written.
pub(crate) fn put_context(path: &Path, name: &str, section: &ContextSection) -> Result<(), CliError> {
    let mut file = read(path)?;
    let broken = || CliError::Config { path: path.to_owned(), message: format!("contexts.{name} is not a table") };
    let contexts = file.entry("contexts").or_insert_with(|| {
        let mut table = Table::new();
        table.set_implicit(true);
        Item::Table(table)
    });
    let contexts = contexts.as_table_like_mut().ok_or_else(broken)?;
    let first = contexts.is_empty();
    let context = contexts.entry(name).or_insert_with(|| Item::Table(Table::new())).as_table_like_mut().ok_or_else(broken)?;
    if first {
        context.insert("current", value(true));
    }
    context.insert("host", value(&section.host));
    let api = context.entry("api").or_insert_with(|| {
        let mut table = Table::new();
        table.set_dotted(true);
        Item::Table(table)
    });
    let api = api.as_table_like_mut().ok_or_else(broken)?;
    api.insert("scheme", value(&section.api.scheme));
    api.insert("port", value(i64::from(section.api.port)));
    let file_name = section.api.ca_file.as_ref().map(|file| file.display().to_string());
    for (key, text) in [("ca_fingerprint", section.api.ca_fingerprint.clone()), ("ca_file", file_name)] {
        match text {
            Some(text) => api.insert(key, value(text)),
            None => api.remove(key),
        };
    }
    write(path, &file)
}

fn read(path: &Path) -> Result<DocumentMut, CliError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(source) => return Err(CliError::Read { path: path.to_owned(), source }),
    };
    text.parse().map_err(|error: toml_edit::TomlError| CliError::Config { path: path.to_owned(), message: error.to_string() })
}

fn write(path: &Path, file: &DocumentMut) -> Result<(), CliError> {
    let failed = |source| CliError::Write { path: path.to_owned(), source };
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    std::fs::write(path, file.to_string()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ApiSection, ConfigFile};

    fn section(host: &str, pin: Option<&str>) -> ContextSection {
        let api = ApiSection { scheme: "https".into(), port: 3030, ca_fingerprint: pin.map(str::to_owned), ca_file: None };
        ContextSection::at(host.into(), api)
    }

    #[test]
    fn a_context_is_written_and_the_rest_of_the_file_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/config.toml");
        put_context(&path, "default", &section("10.0.0.1", Some("ab"))).unwrap();
        let read = ConfigFile::load(&path).unwrap();
        let (name, found) = read.context(None).unwrap();
        assert_eq!((name, found.current, found.host.as_str()), ("default", true, "10.0.0.1"));
        assert_eq!(found.api.ca_fingerprint.as_deref(), Some("ab"));
        let text = format!("# mine\n{}\n[server.runtime.docker]\nenabled = true\n", std::fs::read_to_string(&path).unwrap());
        std::fs::write(&path, text).unwrap();
        put_context(&path, "default", &section("10.0.0.2", None)).unwrap();
        put_context(&path, "other", &section("10.0.0.3", None)).unwrap();
        let read = ConfigFile::load(&path).unwrap();
        let found = &read.contexts["default"];
        assert_eq!((found.host.as_str(), &found.api.ca_fingerprint, found.current), ("10.0.0.2", &None, true));
        assert_eq!((read.contexts["other"].current, read.server.runtime.docker.enabled), (false, Some(true)));
        assert!(std::fs::read_to_string(&path).unwrap().starts_with("# mine\n"));
        use_context(&path, "other").unwrap();
        assert_eq!(ConfigFile::load(&path).unwrap().context(None).unwrap().0, "other");
    }
}
