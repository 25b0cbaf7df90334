use super::*;
use hex_literal::hex;
use proptest::prelude::*;

/// Laid out by RFC 5880, section 4.1: version 1, diagnostic 3, Init, P, multiplier 3, 24 octets.
const INIT: [u8; 24] = hex!("23a00318 0a0b0c0d 01020304 0000c350 000186a0 00000000");

/// A control packet with a meticulous keyed SHA1 section as in RFC 5880, sections 4.1 and 4.4: Down, A, multiplier 5,
/// 52 octets, one second each way, key 2, sequence number 5.
const SHA1: [u8; 52] = hex!(
    "20440534 00000001 00000000 000f4240 000f4240 00000000"
    "051c0200 00000005 010203040506070809101112131415161718191a"
);

fn init() -> Packet {
    Packet {
        diag: Diag::NeighborSignaledSessionDown,
        state: State::Init,
        poll: true,
        final_: false,
        control_plane_independent: false,
        demand: false,
        detect_mult: 3,
        my_discriminator: 0x0a0b_0c0d,
        your_discriminator: 0x0102_0304,
        desired_min_tx: 50_000,
        required_min_rx: 100_000,
        required_min_echo_rx: 0,
    }
}

#[test]
fn golden_octets() {
    assert_eq!(init().encode(&[]), INIT);
    assert_eq!(Packet::decode(&INIT), Ok(Received { packet: init(), auth: None, octets: &INIT }));

    let got = Packet::decode(&SHA1).unwrap();
    assert_eq!((got.packet.state, got.packet.detect_mult, got.packet.my_discriminator), (State::Down, 5, 1));
    assert_eq!((got.packet.desired_min_tx, got.packet.required_min_rx), (1_000_000, 1_000_000));
    assert_eq!(got.auth, Some(AuthSection { auth_type: 5, data: &SHA1[26..] }));
    assert_eq!(got.packet.encode(&SHA1[24..]), SHA1);
}

#[test]
fn each_flag_has_its_bit() {
    let plain = Packet { poll: false, ..init() };
    let flags = |packet: Packet| packet.encode(&[])[1];
    assert_eq!(flags(plain), 0x80);
    assert_eq!(flags(Packet { poll: true, ..plain }), 0xa0);
    assert_eq!(flags(Packet { final_: true, ..plain }), 0x90);
    assert_eq!(flags(Packet { control_plane_independent: true, ..plain }), 0x88);
    assert_eq!(plain.encode(&[1, 3, 0])[1], 0x84);
    assert_eq!(flags(Packet { demand: true, ..plain }), 0x82);
    let states = [(State::AdminDown, 0), (State::Down, 0x40), (State::Init, 0x80), (State::Up, 0xc0)];
    states.into_iter().for_each(|(state, bits)| assert_eq!(flags(Packet { state, ..plain }), bits));
}

fn changed(at: usize, octet: u8) -> Result<Packet, Discard> {
    let mut octets = INIT;
    octets[at] = octet;
    Packet::decode(&octets).map(|r| r.packet)
}

#[test]
fn what_must_be_discarded_is() {
    assert_eq!(changed(0, 0x03), Err(Discard::Version));
    assert_eq!(changed(0, 0x43), Err(Discard::Version));
    assert_eq!(changed(3, 23), Err(Discard::Short));
    assert_eq!(changed(3, 25), Err(Discard::Length));
    assert_eq!(changed(2, 0), Err(Discard::DetectMult));
    assert_eq!(changed(1, 0xa1), Err(Discard::Multipoint));
    let mut no_discriminator = INIT;
    no_discriminator[4..8].fill(0);
    assert_eq!(Packet::decode(&no_discriminator), Err(Discard::MyDiscriminator));
    for n in 0..INIT.len() {
        assert_eq!(Packet::decode(&INIT[..n]), Err(Discard::Short));
    }
}

#[test]
fn without_your_discriminator_the_peer_is_down() {
    let mut octets = INIT;
    octets[8..12].fill(0);
    for (flags, ok) in [(0x00, true), (0x40, true), (0x80, false), (0xc0, false)] {
        octets[1] = flags;
        assert_eq!(Packet::decode(&octets).map(drop), if ok { Ok(()) } else { Err(Discard::State) }, "{flags:#x}");
    }
}

#[test]
fn what_follows_length_is_ignored() {
    let long = [&INIT[..], &[0xff; 9]].concat();
    let got = Packet::decode(&long).unwrap();
    assert_eq!((got.packet, got.octets), (init(), &INIT[..]));
}

#[test]
fn the_authentication_section_must_fit() {
    let section = |length: u8, auth_len: u8| {
        let mut octets = SHA1;
        (octets[3], octets[25]) = (length, auth_len);
        Packet::decode(&octets).map(|r| r.auth.map(|a| a.data.len()))
    };
    assert_eq!(section(52, 28), Ok(Some(26)));
    assert_eq!(section(52, 2), Ok(Some(0)));
    assert_eq!(section(26, 2), Ok(Some(0)));
    assert_eq!(section(25, 2), Err(Discard::Short));
    assert_eq!(section(24, 28), Err(Discard::Short));
    assert_eq!(section(52, 29), Err(Discard::AuthLength));
    assert_eq!(section(51, 28), Err(Discard::AuthLength));
    assert_eq!(section(52, 1), Err(Discard::AuthLength));
    assert_eq!(section(53, 28), Err(Discard::Length));
}

#[test]
fn diagnostics_keep_their_number() {
    for n in 0..32 {
        assert_eq!(Diag::from_bits(n | 0x20).bits(), n);
    }
    assert_eq!(Diag::from_bits(9), Diag::Reserved(9));
}

fn any_packet() -> impl Strategy<Value = Packet> {
    let words = (1u32.., any::<u32>(), any::<u32>(), any::<u32>(), any::<u32>());
    (0u8..32, 0u8..4, any::<[bool; 4]>(), 1u8.., words).prop_map(|(diag, state, [p, f, c, d], detect_mult, w)| Packet {
        diag: Diag::from_bits(diag),
        state: State::from_bits(state),
        poll: p,
        final_: f,
        control_plane_independent: c,
        demand: d,
        detect_mult,
        my_discriminator: w.0,
        your_discriminator: w.1.max(1),
        desired_min_tx: w.2,
        required_min_rx: w.3,
        required_min_echo_rx: w.4,
    })
}

proptest! {
    #[test]
    fn round_trip(packet in any_packet(), data in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..200))) {
        let auth = data.map_or(Vec::new(), |d| [&[7, d.len() as u8 + 2][..], &d].concat());
        let octets = packet.encode(&auth);
        let got = Packet::decode(&octets).unwrap();
        prop_assert_eq!(got.packet, packet);
        prop_assert_eq!(got.auth.map_or(0, |a| a.data.len() + 2), auth.len());
        prop_assert_eq!(got.octets, &octets[..]);
    }

    #[test]
    fn garbage(mut octets in proptest::collection::vec(any::<u8>(), 0..80), shape in any::<bool>()) {
        if shape && octets.len() >= MANDATORY {
            octets[0] = 0x20 | octets[0] & 0x1f;
            octets[3] = octets[3].min(octets.len() as u8);
        }
        if let Ok(got) = Packet::decode(&octets) {
            let auth = &got.octets[MANDATORY..];
            let again = got.packet.encode(if got.auth.is_some() { auth } else { &[] });
            prop_assert_eq!(Packet::decode(&again).unwrap().packet, got.packet);
        }
    }
}
