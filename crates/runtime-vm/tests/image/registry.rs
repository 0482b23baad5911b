//! A registry on loopback that does as it is told.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

#[derive(Default)]
pub(crate) struct State {
    /// By `name/reference`: type and bytes.
    pub(crate) manifests: HashMap<String, (&'static str, Vec<u8>)>,
    pub(crate) blobs: HashMap<String, Vec<u8>>,
    /// `account:password`; None: everybody may.
    pub(crate) login: Option<String>,
    /// Layers are not given until this is taken back.
    pub(crate) held: bool,
    /// Paths asked for.
    pub(crate) asked: Vec<String>,
}

/// Goes when it is dropped.
pub(crate) struct Registry {
    pub(crate) address: String,
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Registry {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared: Arc<(Mutex<State>, Condvar)> = Arc::default();
        let own = Arc::downgrade(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(stream), Some(shared)) = (stream, own.upgrade()) else { return };
                std::thread::spawn(move || serve(&stream, &shared));
            }
        });
        Self { address, shared }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().unwrap()
    }

    /// Lets layers go again.
    pub(crate) fn release(&self) {
        self.state().held = false;
        self.shared.1.notify_all();
    }

    /// How many layers have been asked for.
    pub(crate) fn layers_asked(&self, image: &Image) -> usize {
        self.state().asked.iter().filter(|path| image.layers.iter().any(|layer| path.ends_with(layer.as_str()))).count()
    }

    /// Puts an image there, with an index above its manifest.
    pub(crate) fn put(&self, name: &str, tag: &str, image: &Image) -> String {
        let mut state = self.state();
        state.blobs.extend(image.blobs.clone());
        let own = digest(&image.manifest);
        let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let index = serde_json::json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
            {"mediaType": MANIFEST, "digest": digest(b"other"), "size": 5, "platform": {"os": "linux", "architecture": "s390x"}},
            {"mediaType": MANIFEST, "digest": own, "size": image.manifest.len(), "platform": {"os": "linux", "architecture": arch}},
        ]});
        let index = serde_json::to_vec(&index).unwrap();
        let told = digest(&index);
        for (reference, kind, bytes) in [(tag, INDEX, &index), (&told, INDEX, &index), (&own, MANIFEST, &image.manifest)] {
            state.manifests.insert(format!("{name}/{reference}"), (kind, bytes.clone()));
        }
        told
    }
}

fn serve(stream: &TcpStream, shared: &(Mutex<State>, Condvar)) {
    let mut lines = BufReader::new(stream).lines();
    let Some(Ok(request)) = lines.next() else { return };
    let headers: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let allowed = |login: &str| {
        let wanted = format!("basic {}", BASE64_STANDARD.encode(login));
        headers.iter().any(|line| {
            line.split_once(": ")
                .is_some_and(|(name, value)| name.eq_ignore_ascii_case("authorization") && value.eq_ignore_ascii_case(&wanted))
        })
    };
    let mut state = shared.0.lock().unwrap();
    state.asked.push(path.clone());
    shared.1.notify_all();
    let denied = state.login.as_ref().is_some_and(|login| !allowed(login));
    let error = |code: &str| format!(r#"{{"errors": [{{"code": "{code}", "message": "no"}}]}}"#).into_bytes();
    let (status, kind, body) = if denied {
        ("401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"test\"", "application/json", error("UNAUTHORIZED"))
    } else if path == "/v2/" {
        ("200 OK", "application/json", b"{}".to_vec())
    } else if let Some((_, digest)) = path.split_once("/blobs/") {
        let is_layer = state.blobs.get(digest).is_some_and(|blob| blob.first() != Some(&b'{'));
        while is_layer && state.held {
            state = shared.1.wait(state).unwrap();
        }
        match state.blobs.get(digest) {
            Some(blob) => ("200 OK", "application/octet-stream", blob.clone()),
            None => ("404 Not Found", "application/json", error("BLOB_UNKNOWN")),
        }
    } else {
        let key = path.trim_start_matches("/v2/").replace("/manifests/", "/");
        match state.manifests.get(&key) {
            Some((kind, bytes)) => ("200 OK", *kind, bytes.clone()),
            None => ("404 Not Found", "application/json", error("MANIFEST_UNKNOWN")),
        }
    };
    drop(state);
    let told = if status.starts_with("200") { format!("Docker-Content-Digest: {}\r\n", digest(&body)) } else { String::new() };
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{told}Content-Length: {length}\r\nConnection: close\r\n\r\n");
    let mut stream = stream;
    let body = if request.starts_with("HEAD") { Vec::new() } else { body };
    // Whoever asked may be gone.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// An image as a registry has it.
#[derive(Clone)]
pub(crate) struct Image {
    pub(crate) manifest: Vec<u8>,
    pub(crate) blobs: HashMap<String, Vec<u8>>,
    /// Digests of its layers, as they are fetched.
    pub(crate) layers: Vec<String>,
}

/// Files of a layer: name and content.
pub(crate) type Files<'a> = &'a [(&'a str, &'a str)];

pub(crate) fn tar(files: Files<'_>) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_uid(1000);
        header.set_gid(100);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, name, content.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap()
}

/// An image of these layers: one compressed with gzip, the next with zstd, and so on.
pub(crate) fn image(run: &serde_json::Value, layers: &[Files<'_>]) -> Image {
    let plain: Vec<Vec<u8>> = layers.iter().map(|files| tar(files)).collect();
    layered(run, &plain)
}

/// The same, of archives.
pub(crate) fn layered(run: &serde_json::Value, plain: &[Vec<u8>]) -> Image {
    let packed: Vec<Vec<u8>> = plain.iter().enumerate().map(|(number, tar)| pack(number, tar)).collect();
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let ids: Vec<String> = plain.iter().map(|tar| digest(tar)).collect();
    let config =
        serde_json::json!({"architecture": arch, "os": "linux", "config": run, "rootfs": {"type": "layers", "diff_ids": ids}});
    let config = serde_json::to_vec(&config).unwrap();
    let described =
        |kind: &str, bytes: &[u8]| serde_json::json!({"mediaType": kind, "digest": digest(bytes), "size": bytes.len()});
    let layers: Vec<_> = packed.iter().map(|bytes| described("application/vnd.oci.image.layer.v1.tar+gzip", bytes)).collect();
    let manifest = serde_json::json!({"schemaVersion": 2, "mediaType": MANIFEST,
        "config": described("application/vnd.oci.image.config.v1+json", &config), "layers": layers});
    let mut blobs: HashMap<String, Vec<u8>> = packed.iter().map(|bytes| (digest(bytes), bytes.clone())).collect();
    blobs.insert(digest(&config), config);
    Image { manifest: serde_json::to_vec(&manifest).unwrap(), blobs, layers: packed.iter().map(|bytes| digest(bytes)).collect() }
}

fn pack(number: usize, tar: &[u8]) -> Vec<u8> {
    if number % 2 == 1 {
        return zstd::stream::encode_all(tar, 1).unwrap();
    }
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(tar).unwrap();
    gzip.finish().unwrap()
}
