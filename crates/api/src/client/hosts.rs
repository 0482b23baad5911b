//! The control nodes a client knows, and which of them it asks first.

use std::sync::atomic::{AtomicUsize, Ordering};

use url::Url;

/// Control nodes. The one that answered last is asked first.
#[derive(Debug)]
pub struct Hosts {
    urls: Vec<Url>,
    first: AtomicUsize,
}

/// The scheme of a host that is given without one: `http` on loopback, else `https`.
pub const BY_HOST: &str = "auto";

/// A text that is no list of control nodes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not the address of a control node: write HOST, HOST:PORT or a URL, several with commas")]
pub struct HostError {
    /// The part that is not understood.
    pub text: String,
}

impl Hosts {
    /// Reads `HOST[:PORT]` or URLs, comma separated; `scheme` and `port` fill in what is left out. The scheme [`BY_HOST`] is
    /// `http` on loopback and `https` elsewhere.
    ///
    /// # Errors
    /// [`HostError`] with the first part that is no address.
    pub fn parse(list: &str, scheme: &str, port: u16) -> Result<Self, HostError> {
        let parts = list.split(',').map(str::trim).filter(|part| !part.is_empty());
        let urls = parts.map(|part| parse_one(part, scheme, port)).collect::<Result<Vec<_>, _>>()?;
        if urls.is_empty() {
            return Err(HostError { text: list.to_owned() });
        }
        Ok(Self { urls, first: AtomicUsize::new(0) })
    }

    /// Is one of them spoken to over TLS?
    pub fn speak_tls(&self) -> bool {
        self.urls.iter().any(|url| url.scheme() == "https")
    }

    /// Their addresses as they were given.
    pub fn urls(&self) -> &[Url] {
        &self.urls
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.urls.len()
    }

    /// Never: a list of none is refused.
    pub fn is_empty(&self) -> bool {
        self.urls.is_empty()
    }

    /// Their addresses as they are asked, the preferred one first.
    pub(super) fn in_order(&self) -> impl Iterator<Item = (usize, &Url)> {
        let first = self.first.load(Ordering::Relaxed);
        (0..self.urls.len()).map(move |i| (first + i) % self.urls.len()).map(|i| (i, &self.urls[i]))
    }

    /// Asks this one first from now on.
    pub(super) fn prefer(&self, index: usize) {
        self.first.store(index, Ordering::Relaxed);
    }

    /// Asks the next one first from now on.
    pub(super) fn next(&self) {
        let first = self.first.load(Ordering::Relaxed);
        self.first.store((first + 1) % self.urls.len(), Ordering::Relaxed);
    }
}

impl std::fmt::Display for Hosts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, url) in self.urls.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{}", url.as_str().trim_end_matches('/'))?;
        }
        Ok(())
    }
}

fn parse_one(text: &str, scheme: &str, port: u16) -> Result<Url, HostError> {
    let fail = || HostError { text: text.to_owned() };
    if text.contains("://") {
        let url = Url::parse(text).map_err(|_| fail())?;
        let http = matches!(url.scheme(), "http" | "https");
        return if http && url.has_host() { Ok(url) } else { Err(fail()) };
    }
    let bare_v6 = text.parse::<std::net::Ipv6Addr>().is_ok();
    let host = if bare_v6 { format!("[{text}]") } else { text.to_owned() };
    let port_given = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let scheme = match scheme {
        BY_HOST if loopback(&host) => "http",
        BY_HOST => "https",
        scheme => scheme,
    };
    let full = if port_given { format!("{scheme}://{host}") } else { format!("{scheme}://{host}:{port}") };
    let url = Url::parse(&full).map_err(|_| fail())?;
    if url.path() == "/" && url.query().is_none() && url.username().is_empty() { Ok(url) } else { Err(fail()) }
}

/// Is it this host, whatever the port?
fn loopback(host: &str) -> bool {
    let url = Url::parse(&format!("http://{host}")).ok();
    match url.as_ref().and_then(Url::host) {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.to_canonical().is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(list: &str) -> String {
        Hosts::parse(list, "http", 3030).unwrap().to_string()
    }

    #[test]
    fn every_form_of_an_address() {
        assert_eq!(parse("10.0.0.1"), "http://10.0.0.1:3030");
        assert_eq!(parse("a, b:8080,https://c"), "http://a:3030, http://b:8080, https://c");
        assert_eq!(parse("::1,[fe80::1]:1"), "http://[::1]:3030, http://[fe80::1]:1");
        for bad in ["", ",", "a b", "ftp://x", "a/b", "http://"] {
            assert!(Hosts::parse(bad, "http", 3030).is_err(), "{bad}");
        }
    }

    #[test]
    fn plain_http_is_for_loopback_unless_it_is_written() {
        let parse = |list: &str| Hosts::parse(list, BY_HOST, 3030).unwrap().to_string();
        assert_eq!(parse("127.0.0.1,localhost:1,::1"), "http://127.0.0.1:3030, http://localhost:1, http://[::1]:3030");
        assert_eq!(parse("10.0.0.1,c1:1,http://c2"), "https://10.0.0.1:3030, https://c1:1, http://c2");
        assert!(
            Hosts::parse("10.0.0.1", BY_HOST, 1).unwrap().speak_tls() && !Hosts::parse("::1", BY_HOST, 1).unwrap().speak_tls()
        );
    }

    #[test]
    fn the_one_that_answered_is_asked_first() {
        let hosts = Hosts::parse("a,b,c", "http", 1).unwrap();
        hosts.prefer(2);
        let order: Vec<_> = hosts.in_order().map(|(i, _)| i).collect();
        assert_eq!(order, [2, 0, 1]);
        hosts.next();
        assert_eq!(hosts.in_order().next().unwrap().0, 0);
    }
}
