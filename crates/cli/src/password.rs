//! Where passwords come from that are on no command line.

use std::io::{self, BufRead, IsTerminal};
use std::path::Path;

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::error::CliError;
use crate::output::note;

/// From a prompt on a terminal, else the first line of standard input.
///
/// # Errors
/// [`CliError::Input`] when neither can be read.
pub fn read_password(username: &str) -> Result<String, CliError> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return read_line();
    }
    note(&format!("password of '{username}':"));
    let failed = |error: rustix::io::Errno| CliError::Input("the terminal", error.into());
    let before = tcgetattr(&stdin).map_err(failed)?;
    let mut quiet = before.clone();
    quiet.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&stdin, OptionalActions::Flush, &quiet).map_err(failed)?;
    let line = read_line();
    tcsetattr(&stdin, OptionalActions::Flush, &before).map_err(failed)?;
    line
}

fn read_line() -> Result<String, CliError> {
    let mut line = String::new();
    let failed = |error| CliError::Input("standard input", error);
    let count = io::stdin().lock().read_line(&mut line).map_err(failed)?;
    if count == 0 {
        return Err(failed(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// The content of a file, without the line end at its end.
///
/// # Errors
/// [`CliError::Read`] when it cannot be read, [`CliError::Config`] when it is empty.
pub fn password_file(path: &Path) -> Result<String, CliError> {
    let mut text = std::fs::read_to_string(path).map_err(|source| CliError::Read { path: path.to_owned(), source })?;
    let kept = text.strip_suffix('\n').map_or(text.len(), |line| line.strip_suffix('\r').unwrap_or(line).len());
    text.truncate(kept);
    if text.is_empty() {
        let message = "the password file is empty: write the password into it".to_owned();
        return Err(CliError::Config { path: path.to_owned(), message });
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &[u8]) -> Result<String, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, content).unwrap();
        let path = file.path().display().to_string();
        password_file(file.path()).map_err(|error| error.to_string().replace(&path, "FILE"))
    }

    #[test]
    fn one_line_end_is_not_part_of_a_password() {
        assert_eq!(read(b" a b \n"), Ok(" a b ".to_owned()));
        assert_eq!(read(b"a\r\n"), Ok("a".to_owned()));
        assert_eq!(read(b"a\n\n"), Ok("a\n".to_owned()));
        assert_eq!(read(b"a"), Ok("a".to_owned()));
    }

    #[test]
    fn a_file_that_has_none_is_named() {
        for empty in [&b""[..], b"\n", b"\r\n"] {
            assert_eq!(read(empty), Err("FILE: the password file is empty: write the password into it".to_owned()));
        }
        assert!(read(&[0xff, 0xfe]).unwrap_err().starts_with("cannot read FILE: "));
        let missing = password_file(Path::new("/nowhere/at/all")).unwrap_err().to_string();
        assert_eq!(missing, "cannot read /nowhere/at/all: No such file or directory (os error 2)");
    }
}
