//! Images of the host's own Docker engine: what was built here, or fetched by it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, Docker};
use futures::StreamExt;
use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::layer::Layer;

/// The usual socket.
const SOCKET: &str = "unix:///var/run/docker.sock";

/// An engine that has not answered a plain question by then is of no use now.
const PATIENCE: Duration = Duration::from_secs(5);

/// An image that makes no progress for so long is given up.
const STALL: Duration = Duration::from_mins(2);

/// Limit of the library for the begin of any answer, seconds.
const LONGEST: u64 = 3600;

/// No archive has a longer list of what is in it, nor an image a longer configuration, bytes.
const LONGEST_TEXT: u64 = 8 << 20;

/// Which Docker engine is asked for images before a registry is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum EngineAt {
    /// The one at the usual socket. It need not be there.
    #[default]
    Usual,
    /// The one at `unix:///path`, `/path`, `tcp://host:port` or `http://host:port`. It need not be there.
    Address(String),
    /// None: images come from their registries.
    None,
}

/// The engine, which may not be there.
pub(super) struct Engine {
    /// None: there is none to be asked.
    address: Option<String>,
}

/// An image of the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Here {
    /// The engine's own name of it: another one for every content.
    pub(super) id: String,
    /// Digest as registries know it, else the engine's name.
    pub(super) told: String,
}

impl Engine {
    pub(super) fn new(at: &EngineAt) -> Self {
        let address = match at {
            EngineAt::Usual => Some(SOCKET.to_owned()),
            EngineAt::Address(path) if path.starts_with('/') => Some(format!("unix://{path}")),
            EngineAt::Address(address) => Some(address.clone()),
            EngineAt::None => None,
        };
        Self { address }
    }

    fn connect(&self) -> Option<Docker> {
        let address = self.address.as_deref()?;
        let connected = match address.strip_prefix("unix://") {
            Some(path) if !Path::new(path).exists() => return None,
            Some(_) => Docker::connect_with_unix(address, LONGEST, API_DEFAULT_VERSION),
            None => Docker::connect_with_http(address, LONGEST, API_DEFAULT_VERSION),
        };
        connected.ok()
    }

    /// An image of this name. None also when there is no engine or it does not answer: images can be had without.
    pub(super) async fn find(&self, image: &str) -> Option<Here> {
        let docker = self.connect()?;
        let asking = async {
            let docker = docker.negotiate_version().await.ok()?;
            docker.inspect_image(image).await.ok()
        };
        let found = timeout(PATIENCE, asking).await.ok()??;
        let id = found.id?;
        let digests = found.repo_digests.unwrap_or_default();
        let told = digests.iter().find_map(|digest| Some(digest.split_once('@')?.1.to_owned()));
        Some(Here { told: told.unwrap_or_else(|| id.clone()), id })
    }

    /// Writes an image into a file: its configuration, and where its layers are in there.
    pub(super) async fn save(&self, here: &Here, file: PathBuf) -> Result<(Vec<u8>, Vec<Layer>), String> {
        let gone = || format!("the engine at {} is gone", self.address.as_deref().unwrap_or("no address"));
        let docker = timeout(PATIENCE, self.connect().ok_or_else(gone)?.negotiate_version()).await;
        let docker = docker.map_err(|_| gone())?.map_err(|error| error.to_string())?;
        let mut stream = docker.export_image(&here.id).boxed();
        let mut written = tokio::fs::File::create_new(&file).await.map_err(|error| error.to_string())?;
        while let Some(bytes) = timeout(STALL, stream.next()).await.map_err(|_| "the engine hangs".to_owned())? {
            let bytes = bytes.map_err(|error| error.to_string())?;
            written.write_all(&bytes).await.map_err(|error| error.to_string())?;
        }
        written.flush().await.map_err(|error| error.to_string())?;
        let read = tokio::task::spawn_blocking(move || read(&file)).await.map_err(|error| error.to_string())?;
        read.map_err(|error| format!("what the engine gave is no image: {error}"))
    }
}

/// The list of what is in an archive.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    config: String,
    layers: Vec<String>,
}

/// What an entry of an archive is.
enum Part {
    Bytes(u64, u64),
    /// The same as another.
    Link(String),
}

fn read(path: &Path) -> io::Result<(Vec<u8>, Vec<Layer>)> {
    let parts = parts(File::open(path)?)?;
    let listed = text(path, find(&parts, "manifest.json")?)?;
    let listed: Vec<Listed> = serde_json::from_slice(&listed)?;
    let [listed] = listed.as_slice() else { return Err(io::Error::other("it has not one image in it")) };
    let config = text(path, find(&parts, &listed.config)?)?;
    let layers = listed.layers.iter().map(|name| {
        let (offset, length) = find(&parts, name)?;
        Ok(Layer { file: path.to_owned(), offset, length })
    });
    Ok((config, layers.collect::<io::Result<_>>()?))
}

fn parts(file: File) -> io::Result<HashMap<String, Part>> {
    let mut parts = HashMap::new();
    let mut archive = tar::Archive::new(file);
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        let name = entry.path()?.to_string_lossy().into_owned();
        let kind = entry.header().entry_type();
        let part = if kind.is_symlink() || kind.is_hard_link() {
            let target = entry.link_name()?.unwrap_or_default().into_owned();
            let dir = if kind.is_symlink() { Path::new(&name).parent().unwrap_or(Path::new("")) } else { Path::new("") };
            Part::Link(joined(dir, &target))
        } else {
            Part::Bytes(entry.raw_file_position(), entry.size())
        };
        parts.insert(name, part);
    }
    Ok(parts)
}

fn joined(dir: &Path, target: &Path) -> String {
    let mut path = dir.to_owned();
    for part in target.components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::ParentDir => {
                path.pop();
            }
            _ => {}
        }
    }
    path.to_string_lossy().into_owned()
}

fn find(parts: &HashMap<String, Part>, name: &str) -> io::Result<(u64, u64)> {
    let missing = || io::Error::other(format!("it has no '{name}' in it"));
    match parts.get(name).ok_or_else(missing)? {
        Part::Bytes(offset, length) => Ok((*offset, *length)),
        Part::Link(target) => match parts.get(target).ok_or_else(missing)? {
            Part::Bytes(offset, length) => Ok((*offset, *length)),
            Part::Link(_) => Err(missing()),
        },
    }
}

fn text(path: &Path, (offset, length): (u64, u64)) -> io::Result<Vec<u8>> {
    if length > LONGEST_TEXT {
        return Err(io::Error::other("its configuration is too long"));
    }
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(entries: &[(&str, Result<&str, &str>)]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image.tar");
        let mut tar = tar::Builder::new(File::create(&path).unwrap());
        for (name, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            match content {
                Ok(content) => {
                    header.set_size(content.len() as u64);
                    tar.append_data(&mut header, name, content.as_bytes()).unwrap();
                }
                Err(target) => {
                    header.set_entry_type(tar::EntryType::Symlink);
                    header.set_size(0);
                    tar.append_link(&mut header, name, target).unwrap();
                }
            }
        }
        tar.finish().unwrap();
        (dir, path)
    }

    #[test]
    fn an_archive_of_an_engine_is_read() {
        let list = r#"[{"Config": "c.json", "RepoTags": null, "Layers": ["1/layer.tar", "2/layer.tar"]}]"#;
        let entries = [
            ("1/layer.tar", Ok("first layer")),
            ("2/layer.tar", Err("../1/layer.tar")),
            ("c.json", Ok("{}")),
            ("manifest.json", Ok(list)),
        ];
        let (_dir, path) = archive(&entries);
        let (config, layers) = read(&path).unwrap();
        assert_eq!(config, b"{}");
        let mut first = String::new();
        layers[0].open().unwrap().read_to_string(&mut first).unwrap();
        assert_eq!((first.as_str(), layers[0] == layers[1]), ("first layer", true));
        let (_dir, path) = archive(&entries[1..]);
        assert!(read(&path).unwrap_err().to_string().contains("1/layer.tar"));
        let (_dir, path) = archive(&entries[..2]);
        assert!(read(&path).unwrap_err().to_string().contains("manifest.json"));
    }
}
