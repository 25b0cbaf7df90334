//! Configuration options (RFC 1661, section 6): type, length (of the whole option), value.

/// One option, borrowed from its packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opt<'a> {
    /// Its type; the meaning depends on the protocol.
    pub kind: u8,
    /// Its value.
    pub value: &'a [u8],
}

impl Opt<'_> {
    /// The value as a number of two octets.
    pub fn u16(&self) -> Option<u16> {
        Some(u16::from_be_bytes(self.value.try_into().ok()?))
    }

    /// The value as a number of four octets.
    pub fn u32(&self) -> Option<u32> {
        Some(u32::from_be_bytes(self.value.try_into().ok()?))
    }
}

/// The options of a packet, or `None` if a length does not fit.
pub fn parse(mut data: &[u8]) -> Option<Vec<Opt<'_>>> {
    let mut options = Vec::new();
    while let [kind, length, rest @ ..] = data {
        let length = usize::from(*length).checked_sub(2)?;
        options.push(Opt { kind: *kind, value: rest.get(..length)? });
        data = rest.get(length..)?;
    }
    data.is_empty().then_some(options)
}

/// Appends an option. A value that its length octet cannot express is cut; none of ours comes near.
pub fn push(out: &mut Vec<u8>, kind: u8, value: &[u8]) {
    let value = value.get(..253).unwrap_or(value);
    out.extend_from_slice(&[kind, value.len() as u8 + 2]);
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;
    use proptest::prelude::*;

    #[test]
    fn lengths_are_checked() {
        assert!(parse(&hex!("0100")).is_none());
        assert!(parse(&hex!("0101")).is_none());
        assert!(parse(&hex!("010405")).is_none());
        assert!(parse(&hex!("01")).is_none());
        assert_eq!(parse(&hex!("0702")).unwrap(), [Opt { kind: 7, value: &[] }]);
        assert_eq!(parse(&hex!("010405dc")).unwrap()[0].u16(), Some(1500));
    }

    proptest! {
        #[test]
        fn round_trip(options in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..254)), 0..8)) {
            let mut bytes = Vec::new();
            for (kind, value) in &options { push(&mut bytes, *kind, value); }
            let parsed: Vec<_> = parse(&bytes).unwrap().iter().map(|o| (o.kind, o.value.to_vec())).collect();
            prop_assert_eq!(parsed, options);
        }

        #[test]
        fn garbage(bytes: Vec<u8>) { let _ = parse(&bytes); }
    }
}
