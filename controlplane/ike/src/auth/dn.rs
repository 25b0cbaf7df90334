//! Distinguished names (X.501): ID_DER_ASN1_DN on the wire, RFC 4514 in the configuration.
//!
//! ```text
//!   text   CN=gw,O=Example                                   the last component first
//!   DER    SEQUENCE { SET { O  UTF8String "Example" }, SET { CN  UTF8String "gw" } }
//! ```
//!
//! The same name has many encodings: issuers and peers choose between PrintableString, UTF8String and others. Names are
//! equal when their components are, as RFC 5280, section 7.1, compares them: whatever the string type, the case and the
//! extent of white space. The octets are kept as they came, since signatures cover them.

use super::identity::BadIdentity;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::der::{Decode, Encode, Tag, Tagged};
use x509_cert::name::Name;

/// A distinguished name.
#[derive(Clone, Debug)]
pub struct Dn {
    der: Box<[u8]>,
    /// Components in a form that is equal for equal names.
    key: Box<[u8]>,
}

impl PartialEq for Dn {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Dn {}

impl Hash for Dn {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl Dn {
    /// From the DER of a Name.
    pub fn from_der(der: &[u8]) -> Result<Self, BadIdentity> {
        let name = Name::from_der(der).map_err(|_| BadIdentity("not the DER of a distinguished name"))?;
        if name.is_empty() {
            return Err(BadIdentity("an empty distinguished name"));
        }
        Ok(Self { der: der.into(), key: key(&name).into() })
    }

    /// The DER of the Name, as it came.
    pub fn der(&self) -> &[u8] {
        &self.der
    }
}

/// Each component: the number of its attributes, and these in order, each with the lengths of type and value.
fn key(name: &Name) -> Vec<u8> {
    let mut key = Vec::new();
    for component in name.iter_rdn() {
        let mut attributes: Vec<_> = component.iter().map(|a| (a.oid.as_bytes().to_vec(), value(a))).collect();
        attributes.sort();
        key.extend_from_slice(&attributes.len().to_be_bytes());
        for part in attributes.iter().flat_map(|(kind, value)| [kind, value]) {
            key.extend_from_slice(&part.len().to_be_bytes());
            key.extend_from_slice(part);
        }
    }
    key
}

/// A string in lower case with single spaces; anything else as it is, after its tag.
fn value(attribute: &AttributeTypeAndValue) -> Vec<u8> {
    let octets = attribute.value.value();
    let utf8 = || std::str::from_utf8(octets).ok().map(str::to_owned);
    let text = match attribute.value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String => utf8(),
        Tag::TeletexString => utf8().or_else(|| Some(octets.iter().map(|&b| char::from(b)).collect())),
        Tag::BmpString => {
            let units: Vec<u16> = octets.chunks_exact(2).map(|c| u16::from_be_bytes([c[0], c[1]])).collect();
            String::from_utf16(&units).ok().filter(|_| octets.len().is_multiple_of(2))
        }
        _ => None,
    };
    match text {
        Some(text) => {
            let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
            [&[0], words.join(" ").as_bytes()].concat()
        }
        None => [&[attribute.value.tag().number().value() as u8 | 0x80], octets].concat(),
    }
}

/// Takes out the spaces around separators, which RFC 4514 does not have and everybody writes, and gives escaped
/// characters by their octets; `E` is emailAddress. `None`: a special character is not escaped.
fn tidy(text: &str) -> Option<String> {
    fn end(out: &mut String, fixed: usize) {
        while out.len() > fixed && out.ends_with(' ') {
            out.pop();
        }
    }
    let mut out = String::with_capacity(text.len());
    // Up to where nothing is taken back; where the attribute began; what comes next.
    let (mut fixed, mut start, mut in_type, mut leading) = (0, 0, true, true);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' if leading => continue,
            ',' | '+' | '=' if c != '=' || in_type => {
                end(&mut out, fixed);
                if c == '=' && out.get(start..).is_some_and(|kind| kind.eq_ignore_ascii_case("E")) {
                    out.truncate(start);
                    out.push_str("emailAddress");
                }
                out.push(c);
                (fixed, start, in_type, leading) = (out.len(), out.len(), c != '=', true);
                continue;
            }
            '\\' => {
                let escaped = chars.next()?;
                out.push('\\');
                match escaped {
                    c if c.is_ascii_hexdigit() => out.extend([c, chars.next()?]),
                    c if c.is_ascii_punctuation() || c == ' ' => out.push_str(&format!("{:02x}", c as u8)),
                    _ => return None,
                }
                fixed = out.len();
            }
            '"' | ';' | '<' | '>' => return None,
            _ => out.push(c),
        }
        leading = false;
    }
    end(&mut out, fixed);
    Some(out)
}

/// Reads the notation of RFC 4514, `CN=gw,O=Example`; spaces may stand around the separators.
impl FromStr for Dn {
    type Err = BadIdentity;

    fn from_str(text: &str) -> Result<Self, BadIdentity> {
        let bad = BadIdentity("not a distinguished name as RFC 4514 writes it");
        let name: Name = tidy(text).ok_or(bad)?.parse().map_err(|_| bad)?;
        Self::from_der(&name.to_der().map_err(|_| bad)?)
    }
}

/// In the notation of RFC 4514.
impl fmt::Display for Dn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Name::from_der(&self.der) {
            Ok(name) => name.fmt(f),
            Err(_) => Err(fmt::Error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;
    use proptest::prelude::*;

    fn dn(text: &str) -> Dn {
        text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    fn hash(dn: &Dn) -> u64 {
        let mut hasher = std::hash::DefaultHasher::new();
        dn.hash(&mut hasher);
        hasher.finish()
    }

    // SEQUENCE { SET { SEQUENCE { O, "Example" } }, SET { SEQUENCE { CN, "gw" } } } with the string types given.
    fn example(o: u8, cn: u8) -> Vec<u8> {
        let mut der = hex!("301f 3110 300e 0603 55040a 0c07 4578616d706c65 310b 3009 0603 550403 0c02 6777").to_vec();
        (der[11], der[29]) = (o, cn);
        der
    }

    #[test]
    fn rfc_4514_text_to_der() {
        assert_eq!(dn("CN=gw,O=Example").der(), example(12, 12));
        assert_eq!(dn("CN=gw,O=Example").to_string(), "CN=gw,O=Example");
        for text in
            ["CN=gw, O=Example", " cn = gw ,  o = Example ", "2.5.4.3=gw,2.5.4.10=Example", "CN=g\\77,O=Example"]
        {
            assert_eq!(dn(text).der(), example(12, 12), "{text}");
        }
        // Country and mail address have string types of their own.
        assert_eq!(dn("C=CH").der(), hex!("300d 310b 3009 0603 550406 1302 4348"));
        let mail = hex!("3014 3112 3010 0609 2a864886f70d010901 1603 614062");
        assert_eq!((dn("emailAddress=a@b").der(), dn("E=a@b").der()), (&mail[..], &mail[..]));
        for bad in
            ["", "gw", "=gw", "CN", "CN=gw,", "CN=gw;O=x", "nonsense=x", "CN=\\", "CN=\\zz", "O=\"A, B\"", "1.2.=x"]
        {
            assert!(bad.parse::<Dn>().is_err(), "{bad}");
        }
    }

    #[test]
    fn special_characters() {
        for (text, value) in [
            ("CN=a\\, b", &b"a, b"[..]),
            ("CN=a\\=b", b"a=b"),
            ("CN=a=b", b"a=b"),
            ("CN=\\ a\\ ,O=x", b" a "),
            ("CN=a\\\\ ,O=x", b"a\\"),
            ("CN=a\\\\\\,b", b"a\\,b"),
            ("CN=B\\C3\\A4r", "Bär".as_bytes()),
            ("CN=Bär", "Bär".as_bytes()),
        ] {
            let der = dn(text).der().to_vec();
            assert!(der.windows(value.len() + 2).any(|w| w == [&[12, value.len() as u8], value].concat()), "{text}");
            assert_eq!(dn(&dn(text).to_string()), dn(text), "{text}");
        }
        assert_eq!(dn("CN=a+O=b"), dn("O=b + CN=a"));
        assert_ne!(dn("CN=a+O=b"), dn("CN=a,O=b"));
    }

    #[test]
    fn equal_by_value() {
        let name = dn("CN=gw,O=Example");
        // PrintableString, UTF8String, IA5String, TeletexString.
        for (o, cn) in [(19, 19), (12, 19), (19, 12), (22, 20), (12, 12)] {
            let other = Dn::from_der(&example(o, cn)).unwrap();
            assert_eq!((&other, hash(&other)), (&name, hash(&name)), "{o} {cn}");
            assert_eq!(other.der(), example(o, cn), "the octets stay");
            assert_eq!(other.to_string(), "CN=gw,O=Example");
        }
        // BMPString.
        let bmp = hex!("300f 310d 300b 0603 550403 1e04 00670077");
        assert_eq!(Dn::from_der(&bmp).unwrap(), dn("CN=gw"));
        for same in ["CN=GW,O=example", "CN=gw,O=  Example", "CN=gw,O=Example\\ "] {
            assert_eq!(dn(same), name, "{same}");
        }
        assert_eq!(dn("O=A  B"), dn("O=a b"));
        for other in ["O=Example,CN=gw", "CN=gw", "CN=gw,O=Example,C=CH", "CN=gw,OU=Example", "CN=g w,O=Example"] {
            assert_ne!(dn(other), name, "{other}");
        }
        // An octet string is not a string, whatever is in it.
        let octets = example(4, 12);
        assert_ne!(Dn::from_der(&octets).unwrap(), name);
    }

    #[test]
    fn what_is_no_name() {
        let good = example(12, 12);
        assert!(Dn::from_der(&good).is_ok());
        for bad in [&good[..32], &[good.clone(), vec![0]].concat(), &hex!("3000"), &hex!("0c026777"), &[]] {
            assert!(Dn::from_der(bad).is_err());
        }
    }

    proptest! {
        #[test]
        fn garbage(der in proptest::collection::vec(any::<u8>(), 0..60), text in "\\PC{0,30}") {
            for name in Dn::from_der(&der).into_iter().chain(text.parse()) {
                prop_assert_eq!(&dn(&name.to_string()), &name);
            }
        }

        #[test]
        fn any_value_survives_its_notation(cn in "\\PC{1,20}", o in "[ -~]{1,20}") {
            let text = |s: &str| s.chars().map(|c| if c.is_ascii() { format!("\\{:02x}", c as u8) } else { c.to_string() }).collect::<String>();
            let name = dn(&format!("CN={},O={}", text(&cn), text(&o)));
            let again = dn(&name.to_string());
            prop_assert_eq!(name.der(), again.der());
        }

        #[test]
        fn altered_names(at in 0usize..33, octet in any::<u8>()) {
            let mut der = example(12, 12);
            der[at] = octet;
            if let Ok(name) = Dn::from_der(&der) {
                let _ = name.to_string();
            }
        }
    }
}
