//! Prefixes on the wire (RFC 4271, section 4.3): a length in bits, then as many octets as hold them.
//!
//! ```text
//! | Length (1) |  Prefix (0-4 or 0-16)  |     10.1.0.0/16 is 10 0a 01
//! ```

use super::family::Family;
use super::reader::Reader;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Reads the prefixes that fill `bytes`. `None` when the field is syntactically incorrect (RFC 7606, section 5.3): a
/// length above 32 or 128, or a prefix that runs over the end. Bits after the length say nothing and are cleared.
pub(crate) fn decode(bytes: &[u8], family: Family, out: &mut Vec<IpNet>) -> Option<()> {
    let mut reader = Reader(bytes);
    while !reader.is_empty() {
        let bits = reader.u8()?;
        let octets = reader.take(usize::from(bits).div_ceil(8))?;
        out.push(match family {
            Family::Ipv4Unicast => Ipv4Net::new(padded::<4>(octets)?.into(), bits).ok()?.trunc().into(),
            Family::Ipv6Unicast => Ipv6Net::new(padded::<16>(octets)?.into(), bits).ok()?.trunc().into(),
        });
    }
    Some(())
}

fn padded<const N: usize>(octets: &[u8]) -> Option<[u8; N]> {
    let mut address = [0; N];
    address.get_mut(..octets.len())?.copy_from_slice(octets);
    Some(address)
}

/// Octets of `prefix` on the wire.
pub(crate) fn encoded_len(prefix: &IpNet) -> usize {
    1 + usize::from(prefix.prefix_len()).div_ceil(8)
}

/// Writes `prefix`; bits after its length are cleared.
pub(crate) fn encode(prefix: &IpNet, out: &mut Vec<u8>) {
    out.push(prefix.prefix_len());
    let octets = encoded_len(prefix) - 1;
    match prefix.trunc() {
        IpNet::V4(net) => out.extend(net.addr().octets().iter().take(octets)),
        IpNet::V6(net) => out.extend(net.addr().octets().iter().take(octets)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;

    fn read(bytes: &[u8], family: Family) -> Option<Vec<IpNet>> {
        let mut out = Vec::new();
        decode(bytes, family, &mut out).map(|()| out)
    }

    #[test]
    fn prefixes_round_trip() {
        let bytes = hex!("00 10 0a01 20 c0000201 17 0a0202");
        let nets = read(&bytes, Family::Ipv4Unicast).unwrap();
        let names: Vec<_> = nets.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["0.0.0.0/0", "10.1.0.0/16", "192.0.2.1/32", "10.2.2.0/23"]);
        let mut out = Vec::new();
        nets.iter().for_each(|net| encode(net, &mut out));
        assert_eq!(out, bytes);
        assert_eq!(nets.iter().map(encoded_len).sum::<usize>(), bytes.len());

        let bytes = hex!("20 20010db8 80 20010db8000000000000000000000001");
        let nets = read(&bytes, Family::Ipv6Unicast).unwrap();
        assert_eq!(nets[0].to_string(), "2001:db8::/32");
        let mut out = Vec::new();
        nets.iter().for_each(|net| encode(net, &mut out));
        assert_eq!(out, bytes);
    }

    #[test]
    fn trailing_bits_are_cleared() {
        assert_eq!(read(&hex!("0c 0a1f"), Family::Ipv4Unicast).unwrap()[0].to_string(), "10.16.0.0/12");
        let mut out = Vec::new();
        encode(&"10.31.0.0/12".parse().unwrap(), &mut out);
        assert_eq!(out, hex!("0c 0a10"));
    }

    #[test]
    fn incorrect_fields_are_refused() {
        assert_eq!(read(&hex!("21 0a01020304"), Family::Ipv4Unicast), None);
        assert_eq!(read(&hex!("18 0a01"), Family::Ipv4Unicast), None);
        assert_eq!(read(&hex!("81 20010db80000000000000000000000010000"), Family::Ipv6Unicast), None);
        assert_eq!(read(&hex!("ff"), Family::Ipv6Unicast), None);
    }
}
