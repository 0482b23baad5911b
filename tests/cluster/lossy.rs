//! A proxy in front of a control node that lets every request through and loses every answer.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A listening proxy; it ends with the test's process.
pub(crate) struct Lossy {
    address: SocketAddr,
    lost: Arc<Mutex<Vec<String>>>,
}

impl Lossy {
    /// A proxy in front of `target`.
    pub(crate) fn before(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, lost) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let seen = Arc::clone(&lost);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let seen = Arc::clone(&seen);
                thread::spawn(move || lose_answer(client, target, &seen));
            }
        });
        Self { address, lost }
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The first lines of the requests whose answers were lost.
    pub(crate) fn lost(&self) -> Vec<String> {
        self.lost.lock().unwrap().clone()
    }
}

/// Passes the request on, waits until the server answers, and hangs up.
fn lose_answer(mut client: TcpStream, target: SocketAddr, lost: &Mutex<Vec<String>>) {
    let Ok(mut server) = TcpStream::connect(target) else { return };
    let mut request = [0; 16 * 1024];
    let Ok(read) = client.read(&mut request) else { return };
    let line = String::from_utf8_lossy(&request[..read]).lines().next().unwrap_or_default().to_owned();
    if server.write_all(&request[..read]).is_err() {
        return;
    }
    // The rest of a long request follows on its own.
    if let (Ok(mut rest), Ok(mut onward)) = (client.try_clone(), server.try_clone()) {
        thread::spawn(move || std::io::copy(&mut rest, &mut onward));
    }
    let _ = server.set_read_timeout(Some(Duration::from_secs(30)));
    if matches!(server.read(&mut request), Ok(1..)) {
        lost.lock().unwrap().push(line);
    }
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}
