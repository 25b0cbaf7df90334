//! DHCPv6 options (RFC 8415, section 21): code (2), length (2), value. Identity associations hold options in turn.
//!
//! Nesting is bounded by the types: an association holds addresses or prefixes, and these hold a status at most.
//! What is not known is kept as it came ([`DhcpOption::Other`]) at the top level and ignored inside.

use std::net::Ipv6Addr;

/// Option codes.
#[allow(missing_docs)]
pub mod code {
    pub const CLIENT_ID: u16 = 1;
    pub const SERVER_ID: u16 = 2;
    pub const IA_NA: u16 = 3;
    pub const IA_TA: u16 = 4;
    pub const IA_ADDR: u16 = 5;
    pub const ORO: u16 = 6;
    pub const PREFERENCE: u16 = 7;
    pub const ELAPSED_TIME: u16 = 8;
    pub const RELAY_MESSAGE: u16 = 9;
    pub const STATUS_CODE: u16 = 13;
    pub const RAPID_COMMIT: u16 = 14;
    pub const INTERFACE_ID: u16 = 18;
    pub const DNS_SERVERS: u16 = 23;
    pub const IA_PD: u16 = 25;
    pub const IA_PREFIX: u16 = 26;
    /// RFC 4649.
    pub const REMOTE_ID: u16 = 37;
    /// RFC 4580.
    pub const SUBSCRIBER_ID: u16 = 38;
    pub const SOL_MAX_RT: u16 = 82;
}

/// Status codes (RFC 8415, section 21.13).
#[allow(missing_docs)]
pub mod status {
    pub const SUCCESS: u16 = 0;
    pub const UNSPEC_FAIL: u16 = 1;
    pub const NO_ADDRS_AVAIL: u16 = 2;
    pub const NO_BINDING: u16 = 3;
    pub const NOT_ON_LINK: u16 = 4;
    pub const USE_MULTICAST: u16 = 5;
    pub const NO_PREFIX_AVAIL: u16 = 6;
}

/// A DHCP unique identifier: opaque, 1 to 128 octets after its type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Duid(Vec<u8>);

impl Duid {
    /// `None`: of a length that RFC 8415, section 11.1, forbids.
    pub fn new(octets: &[u8]) -> Option<Self> {
        (3..=130).contains(&octets.len()).then(|| Self(octets.to_vec()))
    }

    /// DUID-EN (type 2): an enterprise number and an identifier, cut to what fits.
    pub fn enterprise(number: u32, identifier: &[u8]) -> Self {
        let mut octets = vec![0, 2];
        octets.extend_from_slice(&number.to_be_bytes());
        octets.extend_from_slice(identifier.get(..124).unwrap_or(identifier));
        Self(octets)
    }

    /// DUID-UUID (type 4, RFC 6355).
    pub fn uuid(uuid: [u8; 16]) -> Self {
        let mut octets = vec![0, 4];
        octets.extend_from_slice(&uuid);
        Self(octets)
    }

    /// Type and identifier.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }
}

/// How it went, in a message or in an association.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// One of [`status`].
    pub code: u16,
    /// For people.
    pub message: String,
}

impl Status {
    /// A status with a text.
    pub fn new(code: u16, message: &str) -> Self {
        Self { code, message: message.to_owned() }
    }
}

/// A prefix in an IA_PD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IaPrefix {
    /// Seconds.
    pub preferred: u32,
    /// Seconds.
    pub valid: u32,
    /// At most 128; 0 in a hint that leaves it open.
    pub length: u8,
    /// The prefix.
    pub prefix: Ipv6Addr,
    /// Its status, if it has one of its own.
    pub status: Option<Status>,
}

/// An address in an IA_NA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IaAddress {
    /// The address.
    pub address: Ipv6Addr,
    /// Seconds.
    pub preferred: u32,
    /// Seconds.
    pub valid: u32,
    /// Its status, if it has one of its own.
    pub status: Option<Status>,
}

/// An identity association: IA_PD (prefixes are used) or IA_NA (addresses are).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ia {
    /// Chosen by the client.
    pub iaid: u32,
    /// Seconds until Renew.
    pub t1: u32,
    /// Seconds until Rebind.
    pub t2: u32,
    /// Of an IA_PD.
    pub prefixes: Vec<IaPrefix>,
    /// Of an IA_NA.
    pub addresses: Vec<IaAddress>,
    /// Why there is nothing in it.
    pub status: Option<Status>,
}

/// An option of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum DhcpOption {
    ClientId(Duid),
    ServerId(Duid),
    IaNa(Ia),
    IaPd(Ia),
    OptionRequest(Vec<u16>),
    Preference(u8),
    /// Hundredths of a second since the client began.
    ElapsedTime(u16),
    Status(Status),
    RapidCommit,
    DnsServers(Vec<Ipv6Addr>),
    SolMaxRt(u32),
    /// Not known, kept as it came.
    Other {
        code: u16,
        value: Vec<u8>,
    },
}

/// Splits a run of options. `None`: a length does not fit.
pub(crate) fn split(mut bytes: &[u8]) -> Option<Vec<(u16, &[u8])>> {
    let mut options = Vec::new();
    while let [a, b, c, d, rest @ ..] = bytes {
        let length = usize::from(u16::from_be_bytes([*c, *d]));
        options.push((u16::from_be_bytes([*a, *b]), rest.get(..length)?));
        bytes = rest.get(length..)?;
    }
    bytes.is_empty().then_some(options)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn address_at(bytes: &[u8], at: usize) -> Option<Ipv6Addr> {
    let octets: [u8; 16] = bytes.get(at..at.checked_add(16)?)?.try_into().ok()?;
    Some(octets.into())
}

fn parse_status(value: &[u8]) -> Option<Status> {
    let (code, message) = value.split_first_chunk()?;
    Some(Status { code: u16::from_be_bytes(*code), message: String::from_utf8_lossy(message).into_owned() })
}

/// The status among the options inside an address or a prefix.
fn inner_status(bytes: &[u8]) -> Option<Option<Status>> {
    match split(bytes)?.into_iter().find(|(c, _)| *c == code::STATUS_CODE) {
        Some((_, value)) => Some(Some(parse_status(value)?)),
        None => Some(None),
    }
}

fn parse_ia(value: &[u8], prefixes: bool) -> Option<Ia> {
    let mut ia = Ia { iaid: u32_at(value, 0)?, t1: u32_at(value, 4)?, t2: u32_at(value, 8)?, ..Ia::default() };
    for (c, v) in split(value.get(12..)?)? {
        match c {
            code::IA_PREFIX if prefixes => ia.prefixes.push(IaPrefix {
                preferred: u32_at(v, 0)?,
                valid: u32_at(v, 4)?,
                length: v.get(8).copied().filter(|length| *length <= 128)?,
                prefix: address_at(v, 9)?,
                status: inner_status(v.get(25..)?)?,
            }),
            code::IA_ADDR if !prefixes => ia.addresses.push(IaAddress {
                address: address_at(v, 0)?,
                preferred: u32_at(v, 16)?,
                valid: u32_at(v, 20)?,
                status: inner_status(v.get(24..)?)?,
            }),
            code::STATUS_CODE => ia.status = Some(parse_status(v)?),
            _ => {}
        }
    }
    Some(ia)
}

/// Parses the options of a message. `None`: one of them is malformed.
pub fn parse(bytes: &[u8]) -> Option<Vec<DhcpOption>> {
    split(bytes)?.into_iter().map(|(c, value)| parse_one(c, value)).collect()
}

fn parse_one(c: u16, value: &[u8]) -> Option<DhcpOption> {
    Some(match c {
        code::CLIENT_ID => DhcpOption::ClientId(Duid::new(value)?),
        code::SERVER_ID => DhcpOption::ServerId(Duid::new(value)?),
        code::IA_NA => DhcpOption::IaNa(parse_ia(value, false)?),
        code::IA_PD => DhcpOption::IaPd(parse_ia(value, true)?),
        code::ORO => {
            let (codes, rest) = value.as_chunks::<2>();
            if !rest.is_empty() {
                return None;
            }
            DhcpOption::OptionRequest(codes.iter().map(|c| u16::from_be_bytes(*c)).collect())
        }
        code::PREFERENCE => match value {
            [preference] => DhcpOption::Preference(*preference),
            _ => return None,
        },
        code::ELAPSED_TIME => DhcpOption::ElapsedTime(u16::from_be_bytes(value.try_into().ok()?)),
        code::STATUS_CODE => DhcpOption::Status(parse_status(value)?),
        code::RAPID_COMMIT => value.is_empty().then_some(DhcpOption::RapidCommit)?,
        code::DNS_SERVERS => {
            let (servers, rest) = value.as_chunks::<16>();
            if !rest.is_empty() {
                return None;
            }
            DhcpOption::DnsServers(servers.iter().map(|s| Ipv6Addr::from(*s)).collect())
        }
        code::SOL_MAX_RT => DhcpOption::SolMaxRt(u32::from_be_bytes(value.try_into().ok()?)),
        code => DhcpOption::Other { code, value: value.to_vec() },
    })
}

/// Appends one option whose value `body` writes. A value that outgrows the length field is left out.
pub(crate) fn put(out: &mut Vec<u8>, code: u16, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(&[0, 0]);
    body(out);
    match u16::try_from(out.len() - start - 4) {
        Ok(length) => out[start + 2..start + 4].copy_from_slice(&length.to_be_bytes()),
        Err(_) => out.truncate(start),
    }
}

fn put_status(out: &mut Vec<u8>, status: &Status) {
    put(out, code::STATUS_CODE, |out| {
        out.extend_from_slice(&status.code.to_be_bytes());
        out.extend_from_slice(status.message.as_bytes());
    });
}

fn put_ia(out: &mut Vec<u8>, code: u16, ia: &Ia) {
    put(out, code, |out| {
        for number in [ia.iaid, ia.t1, ia.t2] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        for p in ia.prefixes.iter().filter(|_| code == code::IA_PD) {
            put(out, code::IA_PREFIX, |out| {
                out.extend_from_slice(&p.preferred.to_be_bytes());
                out.extend_from_slice(&p.valid.to_be_bytes());
                out.push(p.length);
                out.extend_from_slice(&p.prefix.octets());
                p.status.iter().for_each(|s| put_status(out, s));
            });
        }
        for a in ia.addresses.iter().filter(|_| code == code::IA_NA) {
            put(out, code::IA_ADDR, |out| {
                out.extend_from_slice(&a.address.octets());
                out.extend_from_slice(&a.preferred.to_be_bytes());
                out.extend_from_slice(&a.valid.to_be_bytes());
                a.status.iter().for_each(|s| put_status(out, s));
            });
        }
        ia.status.iter().for_each(|s| put_status(out, s));
    });
}

/// Appends options.
pub fn encode(options: &[DhcpOption], out: &mut Vec<u8>) {
    for option in options {
        match option {
            DhcpOption::ClientId(duid) => put(out, code::CLIENT_ID, |out| out.extend_from_slice(duid.octets())),
            DhcpOption::ServerId(duid) => put(out, code::SERVER_ID, |out| out.extend_from_slice(duid.octets())),
            DhcpOption::IaNa(ia) => put_ia(out, code::IA_NA, ia),
            DhcpOption::IaPd(ia) => put_ia(out, code::IA_PD, ia),
            DhcpOption::OptionRequest(codes) => {
                put(out, code::ORO, |out| codes.iter().for_each(|c| out.extend_from_slice(&c.to_be_bytes())));
            }
            DhcpOption::Preference(preference) => put(out, code::PREFERENCE, |out| out.push(*preference)),
            DhcpOption::ElapsedTime(time) => {
                put(out, code::ELAPSED_TIME, |out| out.extend_from_slice(&time.to_be_bytes()))
            }
            DhcpOption::Status(status) => put_status(out, status),
            DhcpOption::RapidCommit => put(out, code::RAPID_COMMIT, |_| ()),
            DhcpOption::DnsServers(servers) => {
                put(out, code::DNS_SERVERS, |out| servers.iter().for_each(|s| out.extend_from_slice(&s.octets())));
            }
            DhcpOption::SolMaxRt(time) => put(out, code::SOL_MAX_RT, |out| out.extend_from_slice(&time.to_be_bytes())),
            DhcpOption::Other { code, value } => put(out, *code, |out| out.extend_from_slice(value)),
        }
    }
}
