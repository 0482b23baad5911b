//! The address of a receiver as it is written.

use std::net::IpAddr;

use url::{Host, Url};

use super::guard::refused;

/// Longest address, bytes.
const MAX_URL: usize = 2048;

/// The address, when a webhook may have it. A host that is an address, in any form a browser takes, is judged here; what a name
/// stands for is judged each time it is looked up.
///
/// # Errors
/// What is wrong with it, and what to do.
pub(crate) fn checked(text: &str, allow_local: bool) -> Result<Url, String> {
    if text.len() > MAX_URL {
        return Err(format!("the url has {} bytes, at most {MAX_URL} are allowed", text.len()));
    }
    let url = Url::parse(text).map_err(|error| format!("the url cannot be read: {error}; write it as https://HOST/PATH"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("the scheme '{}' is not http or https", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the url has a user or password in it: remove it; receivers know ring by its signature".to_owned());
    }
    if url.fragment().is_some() {
        return Err("the url has a fragment (#…), which is never sent: remove it".to_owned());
    }
    match url.host() {
        None => return Err("the url names no host".to_owned()),
        Some(Host::Ipv4(address)) => may_reach(IpAddr::V4(address), allow_local)?,
        Some(Host::Ipv6(address)) => may_reach(IpAddr::V6(address), allow_local)?,
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            let local = name == "localhost" || name.ends_with(".localhost");
            if local && !allow_local {
                return Err(format!("the host '{name}' may not be reached: it is this host{HINT}"));
            }
        }
    }
    Ok(url)
}

const HINT: &str = "; `[server.webhooks] allow_local = true` of the control nodes allows loopback";

pub(super) fn may_reach(address: IpAddr, allow_local: bool) -> Result<(), String> {
    let Some(why) = refused(address, allow_local) else { return Ok(()) };
    let hint = if refused(address, true).is_none() { HINT } else { "" };
    Err(format!("the address {address} may not be reached: {why}{hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_addresses_are_refused_in_every_form() {
        for text in [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0x7f.1/",
            "http://0177.0.0.1/",
            "http://017700000001/",
            "http://127.0.0.1./",
            "http://127.0.0.1.:80/",
            "http://0/",
            "http://0.0.0.0:3030/",
            "http://localhost/",
            "http://LOCALHOST:3030/",
            "http://localhost./",
            "http://a.localhost/",
            "http://[::1]/",
            "http://[::]/",
            "http://[0:0:0:0:0:0:0:1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:7f00:1]/",
            "http://[::127.0.0.1]/",
            "http://[fe80::1]/",
            "http://[64:ff9b::7f00:1]/",
            "http://[2002:7f00:1::]/",
            "http://169.254.169.254/latest/meta-data/",
            "http://0xa9fea9fe/",
            "http://2852039166/",
            "http://0251.0376.0251.0376/",
            "http://１２７.０.０.１/",
            "http://①②⑦.⓪.⓪.①/",
            "http://127。0。0。1/",
            "http://%31%32%37.0.0.1/",
            "http:127.0.0.1/",
            "http:\\\\127.0.0.1\\",
            "http://224.0.0.1/",
            "http://255.255.255.255/",
        ] {
            let found = checked(text, false);
            assert!(found.as_ref().is_err_and(|why| why.contains("may not be reached")), "{text}: {found:?}");
        }
    }

    #[test]
    fn what_is_no_plain_http_address_is_refused() {
        for (text, why) in [
            ("ftp://example.com/", "is not http or https"),
            ("file:///etc/passwd", "is not http or https"),
            ("gopher://example.com/", "is not http or https"),
            ("http://user@example.com/", "user or password"),
            ("http://user:pw@example.com/", "user or password"),
            ("http://127.0.0.1@example.com/", "user or password"),
            ("http://example.com@127.0.0.1/", "user or password"),
            ("https://example.com/#x", "fragment"),
            ("example.com/hook", "cannot be read"),
            ("http://", "cannot be read"),
            ("http://[fe80::1%25eth0]/", "cannot be read"),
            ("http://1.2.3.4.5/", "cannot be read"),
            ("", "cannot be read"),
        ] {
            let found = checked(text, false);
            assert!(found.as_ref().is_err_and(|message| message.contains(why)), "{text}: {found:?}");
        }
        let long = format!("https://example.com/{}", "x".repeat(MAX_URL));
        assert!(checked(&long, false).is_err_and(|why| why.contains("at most 2048")));
    }

    #[test]
    fn receivers_are_taken() {
        for text in ["https://example.com/hook?x=1", "http://10.0.0.7:8080/", "https://[fd00::7]/", "http://receiver.internal/a"]
        {
            assert_eq!(checked(text, false).map(|url| url.to_string()).as_deref(), Ok(text));
        }
        for text in ["http://127.0.0.1:9000/", "http://[::1]:9000/", "http://localhost:9000/"] {
            assert!(checked(text, false).is_err_and(|why| why.contains("allow_local")) && checked(text, true).is_ok(), "{text}");
        }
        assert!(checked("http://169.254.169.254/", true).is_err_and(|why| !why.contains("allow_local")));
    }
}
