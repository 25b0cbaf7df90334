//! Which gateway is meant, and how it is reached: options of the command line before those of `swctl.toml`.
//!
//! ```toml
//! # ~/.config/swctl.toml
//! default = "west"                  # without --host; without this line, the socket of the gateway on this machine
//!
//! [gateways.west]
//! host = "gw-west.example.net"      # port 8443 unless it says another
//! fingerprint = "5d:0f:..."         # of its certificate, as its log has it; or ca = "FILE"
//! token_file = "west.token"         # relative to this file
//! ```

use crate::error::Error;
use clap::Args;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where the gateway of this machine listens.
const SOCKET: &str = "/run/softwire-gateway/api.sock";
/// Port of the API.
const PORT: u16 = 8443;

/// How a gateway is reached.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gateway {
    /// A gateway of swctl.toml, or a host name or address; HOST:PORT unless the port is 8443
    #[arg(long, global = true, value_name = "HOST", help_heading = "Gateway")]
    pub host: Option<String>,
    /// File with a bearer token, readable by its owner only
    #[arg(long, global = true, value_name = "FILE", help_heading = "Gateway")]
    pub token_file: Option<PathBuf>,
    /// Trust anchors of the gateway's certificate, PEM
    #[arg(long, global = true, value_name = "FILE", help_heading = "Gateway", conflicts_with = "fingerprint")]
    pub ca: Option<PathBuf>,
    /// SHA-256 of the gateway's certificate, hexadecimal
    #[arg(long, global = true, value_name = "SHA256", help_heading = "Gateway")]
    pub fingerprint: Option<String>,
    /// Certificate of the operator, PEM
    #[arg(long, global = true, value_name = "FILE", help_heading = "Gateway", requires = "key")]
    pub certificate: Option<PathBuf>,
    /// Key of that certificate, PEM
    #[arg(long, global = true, value_name = "FILE", help_heading = "Gateway", requires = "certificate")]
    pub key: Option<PathBuf>,
    /// Unix socket of the gateway on this machine [default: /run/softwire-gateway/api.sock]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Gateway", conflicts_with = "host")]
    pub socket: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    default: Option<String>,
    gateways: BTreeMap<String, Gateway>,
}

/// Where a gateway listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// On this machine.
    Socket(PathBuf),
    /// Anywhere, in TLS.
    Tcp(String, u16),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Socket(path) => path.display().fmt(f),
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
        }
    }
}

impl Gateway {
    /// Completes what the command line says by what the file says of that gateway.
    pub fn completed(self) -> Result<Self, Error> {
        let path = directory("XDG_CONFIG_HOME", ".config").join("swctl.toml");
        let file = match std::fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).map_err(|e| Error::file(&path, e))?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => File::default(),
            Err(e) => return Err(Error::file(&path, e)),
        };
        self.with(file, path.parent().unwrap_or(Path::new("/")))
    }

    fn with(self, mut file: File, directory: &Path) -> Result<Self, Error> {
        if self.socket.is_some() {
            return Ok(self);
        }
        let Some(name) = self.host.clone().or(file.default) else { return Ok(self) };
        let Some(known) = file.gateways.remove(&name) else {
            // Without --host the name came from the file.
            let missing = || Error::Usage(format!("swctl.toml: there is no [gateways.{name}], which is the default"));
            return if self.host.is_some() { Ok(self) } else { Err(missing()) };
        };
        let there = |file: Option<PathBuf>| file.map(|f| directory.join(f));
        // A fingerprint of the command line stands for any trust anchors of the file, and the other way round.
        let trusted = self.ca.is_some() || self.fingerprint.is_some();
        Ok(Self {
            host: if known.socket.is_some() { None } else { known.host.or(Some(name)) },
            token_file: self.token_file.or(there(known.token_file)),
            ca: self.ca.or(there(known.ca).filter(|_| !trusted)),
            fingerprint: self.fingerprint.or(known.fingerprint.filter(|_| !trusted)),
            certificate: self.certificate.or(there(known.certificate)),
            key: self.key.or(there(known.key)),
            socket: there(known.socket),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> Result<Address, Error> {
        let Some(host) = &self.host else {
            // Absolute: a candidate belongs to the socket, wherever the operator is.
            let socket = self.socket.as_deref().unwrap_or(Path::new(SOCKET));
            return std::path::absolute(socket).map(Address::Socket).map_err(|e| Error::file(socket, e));
        };
        let bad = || Error::Usage(format!("{host:?} is neither HOST nor HOST:PORT"));
        let (name, port) = if host.parse::<std::net::Ipv6Addr>().is_ok() {
            (host.as_str(), None)
        } else if let Some(rest) = host.strip_prefix('[') {
            let (name, rest) = rest.split_once(']').ok_or_else(bad)?;
            (name, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or_else(bad)?) })
        } else {
            host.split_once(':').map_or((host.as_str(), None), |(name, port)| (name, Some(port)))
        };
        let port = port.map_or(Ok(PORT), str::parse).map_err(|_| bad())?;
        if name.is_empty() { Err(bad()) } else { Ok(Address::Tcp(name.to_owned(), port)) }
    }
}

/// A directory of the XDG base directory specification.
pub fn directory(variable: &str, below_home: &str) -> PathBuf {
    let set = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    set(variable).unwrap_or_else(|| set("HOME").unwrap_or_else(|| "/".into()).join(below_home))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Result<Address, Error> {
        Gateway { host: Some(text.into()), ..Gateway::default() }.address()
    }

    #[test]
    fn addresses() {
        for (text, name, port) in [
            ("gw", "gw", 8443),
            ("gw:1", "gw", 1),
            ("2001:db8::1", "2001:db8::1", 8443),
            ("[2001:db8::1]", "2001:db8::1", 8443),
            ("[2001:db8::1]:9", "2001:db8::1", 9),
        ] {
            assert_eq!(host(text).unwrap(), Address::Tcp(name.into(), port));
        }
        for text in ["", ":1", "gw:", "gw:x", "[::1", "[::1]9", "gw:70000"] {
            assert!(host(text).is_err(), "{text}");
        }
        assert_eq!(Gateway::default().address().unwrap(), Address::Socket(SOCKET.into()));
    }

    fn file() -> File {
        let text = "default = 'west'\n[gateways.west]\nhost = 'gw-west:9'\nca = 'ca.pem'\ntoken_file = '/t'\n\
                    [gateways.here]\nsocket = '/s'\n";
        toml::from_str(text).unwrap()
    }

    #[test]
    fn the_command_line_comes_before_the_file() {
        let from = |g: Gateway| g.with(file(), Path::new("/c")).unwrap();
        let west = from(Gateway::default());
        assert_eq!(west.address().unwrap().to_string(), "gw-west:9");
        assert_eq!((west.ca, west.token_file), (Some("/c/ca.pem".into()), Some("/t".into())));
        let pinned = from(Gateway { fingerprint: Some("ab".into()), host: Some("west".into()), ..Gateway::default() });
        assert_eq!((pinned.ca, pinned.fingerprint.as_deref()), (None, Some("ab")));
        let here = from(Gateway { host: Some("here".into()), ..Gateway::default() });
        assert_eq!(here.address().unwrap(), Address::Socket("/s".into()));
        let other = from(Gateway { host: Some("other".into()), ..Gateway::default() });
        assert_eq!((other.address().unwrap().to_string().as_str(), other.ca), ("other:8443", None));
        assert!(toml::from_str::<File>("token = 'x'").is_err());
    }
}
