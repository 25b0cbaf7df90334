//! ESP: framing, and packets opened with a fixed SA. A packet is tried as it came and once more sealed, since what
//! lies behind the integrity check is out of reach otherwise.

use ::esp::{SaIn, SaOut, framing, open, seal, selector};
use ::ipsec_mb::Manager;
use dataplane_api::{self as api, Cipher, EspKey, EspSuite, Integrity, Lifetime, Mode, PeerId, SaOutId, Selector};
use dataplane_api::{Slot, Spi, WorkerId};
use std::hint::black_box;
use std::num::NonZeroU32;

const SPI: u32 = 0x0110_0001;

fn pair(manager: &Manager, choice: u8) -> Option<(SaOut, SaIn)> {
    let suite = match choice & 3 {
        0 => EspSuite::new(Cipher::AesGcm128, Integrity::None),
        1 => EspSuite::new(Cipher::AesGcm256, Integrity::None),
        2 => EspSuite::new(Cipher::AesCbc128, Integrity::HmacSha256_128),
        _ => EspSuite::new(Cipher::AesGmac128, Integrity::None),
    }?;
    let key: Vec<u8> = (0..suite.key_len()).map(|i| i as u8 ^ 0x5a).collect();
    let sa = api::SaIn {
        spi: Spi(SPI),
        peer: PeerId(NonZeroU32::MIN),
        suite,
        key: EspKey::new(suite, &key)?,
        esn: choice & 4 != 0,
        replay_window: 64,
        mode: if choice & 8 == 0 { Mode::Transport } else { Mode::Tunnel },
        local: [192, 0, 2, 1].into(),
        remote: [198, 51, 100, 7].into(),
        encap: None,
        selector: Selector::ANY,
        lifetime: Lifetime::default(),
    };
    let out = api::SaOut {
        id: SaOutId(Slot::new(WorkerId(0), 0, 1)?),
        spi: SPI,
        peer: sa.peer,
        suite,
        key: sa.key.clone(),
        esn: sa.esn,
        mode: sa.mode,
        local: sa.remote,
        remote: sa.local,
        encap: None,
        selector: sa.selector,
        lifetime: sa.lifetime,
    };
    Some((SaOut::new(manager, &out)?, SaIn::new(manager, &sa)?))
}

/// The first octet chooses suite and mode, the second is the next header of what is sealed.
pub fn packets(data: &[u8]) {
    let [choice, next, packet @ ..] = data else { return };
    black_box((
        framing::read_head(packet),
        framing::read_trailer(packet).is_ok(),
        framing::inner_len(*next, packet).is_ok(),
    ));
    black_box((selector::ports(*next, packet), selector::sent_flow(packet), selector::received_flow(packet)));
    let Ok(mut manager) = Manager::new() else { return };
    let Some((mut out, mut inbound)) = pair(&manager, *choice) else { panic!("the fixed SA is refused") };
    black_box(open(&mut manager, &mut inbound, &mut packet.to_vec()).is_ok());
    let mut sealed = packet.to_vec();
    if seal(&mut manager, &mut out, *next, &mut sealed).is_err() {
        return;
    }
    let repeated = sealed.clone();
    if let Ok(opened) = open(&mut manager, &mut inbound, &mut sealed) {
        assert_eq!(opened.next_header, *next);
        assert!(packet.starts_with(&sealed));
        assert!(choice & 8 != 0 || sealed == packet);
    }
    assert!(open(&mut manager, &mut inbound, &mut repeated.clone()).is_err(), "a packet was accepted twice");
}
