//! A GET. The status decides; no redirect is followed, no proxy used, no body read.

mod tls;

use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::header::{HOST, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::{Subject, connect, reason};

/// Asks `url`, in which this host's own names mean the instance.
pub(super) async fn get(subject: &Subject, url: &str) -> Result<String, String> {
    let target = Target::parse(url)?;
    let stream = if target.is_instance() {
        connect(subject, target.port).await?
    } else {
        let connecting = TcpStream::connect((target.host.as_str(), target.port)).await;
        connecting.map_err(|error| format!("{}:{}: {}", target.host, target.port, reason(&error)))?
    };
    let request = target.request()?;
    let status = if target.tls {
        let stream = tls::connect(&target.host, stream).await.map_err(|error| format!("TLS: {}", reason(&error)))?;
        ask(stream, request).await
    } else {
        ask(stream, request).await
    };
    let status = status.map_err(|error| format!("HTTP: {error}"))?;
    let said = format!("HTTP {}", status.as_u16());
    if status.is_success() { Ok(said) } else { Err(said) }
}

/// What a URL says.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    tls: bool,
    /// Without brackets.
    host: String,
    port: u16,
    /// Host and port as written.
    authority: String,
    path: String,
}

impl Target {
    fn parse(url: &str) -> Result<Self, String> {
        let unusable = || format!("'{url}' is not a URL that can be asked");
        let uri: Uri = url.parse().map_err(|_| unusable())?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(unusable()),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(unusable)?;
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let authority = uri.port_u16().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let path = uri.path_and_query().map_or("/", hyper::http::uri::PathAndQuery::as_str).to_owned();
        Ok(Self { tls, host: host.trim_matches(['[', ']']).to_owned(), port, authority, path })
    }

    fn request(&self) -> Result<Get, String> {
        let request = Request::get(self.path.as_str()).header(HOST, self.authority.as_str());
        request.header(USER_AGENT, "ring-health-check").body(Empty::new()).map_err(|error| error.to_string())
    }

    /// The names of this host mean the instance.
    fn is_instance(&self) -> bool {
        let address = self.host.parse::<IpAddr>();
        self.host.eq_ignore_ascii_case("localhost")
            || address.is_ok_and(|address| address.is_loopback() || address == IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }
}

type Get = Request<Empty<Bytes>>;

async fn ask(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, request: Get) -> hyper::Result<StatusCode> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let (mut asking, mut connection) = (std::pin::pin!(sender.send_request(request)), std::pin::pin!(connection));
    tokio::select! {
        biased;
        response = &mut asking => Ok(response?.status()),
        ended = &mut connection => {
            ended?;
            Ok(asking.await?.status())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_and_what() {
        let target = |url: &str| Target::parse(url).unwrap();
        let plain = target("http://localhost:8080/health?full=1#x");
        assert_eq!((plain.tls, plain.port, plain.path.as_str()), (false, 8080, "/health?full=1"));
        assert_eq!((plain.authority.as_str(), plain.is_instance()), ("localhost:8080", true));
        assert_eq!((target("https://127.0.0.1").port, target("http://Localhost").port), (443, 80));
        let six = target("http://[::1]:81/");
        assert_eq!((six.host.as_str(), six.authority.as_str(), six.is_instance()), ("::1", "[::1]:81", true));
        assert_eq!((target("http://db:1/").is_instance(), target("http://10.0.0.1/").is_instance()), (false, false));
        assert_eq!(target("http://me:secret@localhost/").authority, "localhost");
        for bad in ["localhost:80", "ftp://localhost/", "http://", "http://:80/", "http://local host/"] {
            assert!(Target::parse(bad).is_err(), "{bad}");
        }
    }
}
