//! IKE identities (RFC 7296, section 3.5): the body of an ID payload is a type, three reserved octets and the data.

use super::Dn;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// ID_IPV4_ADDR or ID_IPV6_ADDR.
    Address(IpAddr),
    /// ID_FQDN, in lower case.
    Fqdn(String),
    /// ID_RFC822_ADDR, the domain in lower case.
    Rfc822(String),
    /// ID_DER_ASN1_DN.
    Dn(Dn),
    /// ID_KEY_ID: opaque octets.
    KeyId(Vec<u8>),
}

/// An ID payload that names nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an identity: {0}")]
pub struct BadIdentity(pub(crate) &'static str);

fn mail(text: &str) -> Option<String> {
    let (user, domain) = text.rsplit_once('@')?;
    (!user.is_empty() && !domain.is_empty()).then(|| format!("{user}@{}", domain.to_ascii_lowercase()))
}

impl Identity {
    /// Parses the body of an ID payload.
    pub fn parse(body: &[u8]) -> Result<Self, BadIdentity> {
        let [kind, _, _, _, data @ ..] = body else { return Err(BadIdentity("too short")) };
        let text = || {
            let printable = !data.is_empty() && data.iter().all(|b| (0x21..0x7f).contains(b));
            std::str::from_utf8(data).ok().filter(|_| printable).ok_or(BadIdentity("unprintable characters"))
        };
        match (kind, data.len()) {
            (1, 4) => Ok(Self::Address(IpAddr::from([data[0], data[1], data[2], data[3]]))),
            (5, 16) => <[u8; 16]>::try_from(data).map(|a| Self::Address(a.into())).map_err(|_| BadIdentity("address")),
            (1 | 5, _) => Err(BadIdentity("address of the wrong length")),
            (2, _) => Ok(Self::Fqdn(text()?.to_ascii_lowercase())),
            (3, _) => mail(text()?).map(Self::Rfc822).ok_or(BadIdentity("no @ in a mail address")),
            (9, _) => Dn::from_der(data).map(Self::Dn),
            (11, 1..) => Ok(Self::KeyId(data.to_vec())),
            (11, _) => Err(BadIdentity("empty")),
            _ => Err(BadIdentity("unknown type")),
        }
    }

    /// The body of the ID payload.
    pub fn body(&self) -> Vec<u8> {
        let (kind, data): (u8, Vec<u8>) = match self {
            Self::Address(IpAddr::V4(a)) => (1, a.octets().to_vec()),
            Self::Address(IpAddr::V6(a)) => (5, a.octets().to_vec()),
            Self::Fqdn(s) => (2, s.clone().into_bytes()),
            Self::Rfc822(s) => (3, s.clone().into_bytes()),
            Self::Dn(d) => (9, d.der().to_vec()),
            Self::KeyId(d) => (11, d.clone()),
        };
        [&[kind, 0, 0, 0][..], &data].concat()
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(a) => a.fmt(f),
            Self::Fqdn(s) | Self::Rfc822(s) => f.write_str(s),
            Self::Dn(d) => d.fmt(f),
            Self::KeyId(d) => {
                f.write_str("keyid:")?;
                d.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
        }
    }
}

/// Reads an address, a distinguished name (RFC 4514), a `user@domain`, `keyid:` with hexadecimal digits, or a domain name.
impl FromStr for Identity {
    type Err = BadIdentity;

    fn from_str(text: &str) -> Result<Self, BadIdentity> {
        if let Ok(a) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Address(a.into()));
        }
        if let Ok(a) = text.parse::<Ipv6Addr>() {
            return Ok(Self::Address(a.into()));
        }
        if let Some(hex) = text.strip_prefix("keyid:") {
            let bad = BadIdentity("keyid: takes hexadecimal octets");
            if hex.is_empty() || hex.len() % 2 != 0 || !hex.is_ascii() {
                return Err(bad);
            }
            let octet = |i| u8::from_str_radix(&hex[i..i + 2], 16).map_err(|_| bad);
            return (0..hex.len()).step_by(2).map(octet).collect::<Result<_, _>>().map(Self::KeyId);
        }
        // A mail address may have a = in it, a distinguished name an @; neither happens.
        if text.contains('=') {
            match text.parse() {
                Err(_) if text.contains('@') => {}
                dn => return dn.map(Self::Dn),
            }
        }
        let kind = if text.contains('@') { 3 } else { 2 };
        Self::parse(&[&[kind, 0, 0, 0], text.as_bytes()].concat())
    }
}

/// Whom a PAD entry is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdMatch {
    /// One identity.
    Exact(Identity),
    /// Names and mail addresses that end so: `@example.net`, `.example.net` (certificates only).
    Suffix(String),
    /// Anybody (certificates only).
    Any,
}

impl IdMatch {
    /// Whether `id` is meant.
    pub fn matches(&self, id: &Identity) -> bool {
        match (self, id) {
            (Self::Any, _) => true,
            (Self::Exact(e), id) => e == id,
            (Self::Suffix(s), Identity::Fqdn(n) | Identity::Rfc822(n)) => n.len() > s.len() && n.ends_with(s.as_str()),
            (Self::Suffix(_), _) => false,
        }
    }
}

/// `*`, `*@example.net`, `*.example.net`, or an identity.
impl FromStr for IdMatch {
    type Err = BadIdentity;

    fn from_str(text: &str) -> Result<Self, BadIdentity> {
        match text.strip_prefix('*') {
            Some("") => Ok(Self::Any),
            // Without the separator, *example.net would also match badexample.net.
            Some(s) if (s.starts_with('@') || s.starts_with('.')) && !s.contains('*') => {
                Ok(Self::Suffix(s.to_ascii_lowercase()))
            }
            Some(_) => Err(BadIdentity("a wildcard is *, *@domain or *.domain")),
            None if text.contains('*') => Err(BadIdentity("a wildcard stands at the front")),
            None => text.parse().map(Self::Exact),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn forms() {
        for (text, body) in [
            ("192.0.2.1", vec![1, 0, 0, 0, 192, 0, 2, 1]),
            ("gw.example.net", [&[2, 0, 0, 0][..], b"gw.example.net"].concat()),
            ("alice@example.net", [&[3, 0, 0, 0][..], b"alice@example.net"].concat()),
            ("keyid:00ff", vec![11, 0, 0, 0, 0, 0xff]),
        ] {
            let id: Identity = text.parse().unwrap();
            assert_eq!((id.body(), id.to_string()), (body, text.to_owned()));
            assert_eq!(Identity::parse(&id.body()), Ok(id));
        }
        let dn: Identity = "CN=gw, O=Example".parse().unwrap();
        assert_eq!((dn.body()[0], dn.to_string()), (9, "CN=gw,O=Example".to_owned()));
        assert_eq!(Identity::parse(&dn.body()), Ok(dn.clone()));
        assert!("CN=gw,O=Example".parse::<IdMatch>().unwrap().matches(&dn));
        assert!(matches!("a=b@example.net".parse(), Ok(Identity::Rfc822(_))));
        assert!("CN=gw,X".parse::<Identity>().is_err() && Identity::parse(&[9, 0, 0, 0, 0x30]).is_err());
        assert_eq!("2001:db8::1".parse::<Identity>().unwrap().body()[0], 5);
        for bad in ["", "a b", "@x", "x@", "keyid:", "keyid:1", "keyid:zz"] {
            assert!(bad.parse::<Identity>().is_err(), "{bad}");
        }
    }

    #[test]
    fn wildcards_do_not_cross_their_separator() {
        let m: IdMatch = "*@example.net".parse().unwrap();
        assert!(m.matches(&"a@EXAMPLE.net".parse().unwrap()));
        assert!(!m.matches(&"a@badexample.net".parse().unwrap()) && !m.matches(&"a@x.example.net".parse().unwrap()));
        assert!("*example.net".parse::<IdMatch>().is_err() && "a*@b".parse::<IdMatch>().is_err());
        assert!("*".parse::<IdMatch>().unwrap().matches(&Identity::KeyId(vec![1])));
        assert!(!"a@b.c".parse::<IdMatch>().unwrap().matches(&"a@b.d".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn garbage(body in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(id) = Identity::parse(&body) {
                let _ = id.to_string();
                prop_assert_eq!(Identity::parse(&id.body()), Ok(id));
            }
        }
    }
}
