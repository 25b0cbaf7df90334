//! IKEv1: header, payloads, SA payloads and what is chosen from them, fragments.

use ::ike::Mode;
use ::ike::payload::{Builder, PayloadType};
use ::ike::v1::fragment::{self, Reassembler};
use ::ike::v1::message::Header;
use ::ike::v1::payload::{self, Body, Delete, Notify, kind};
use ::ike::v1::proposal::{self, Method, Phase1, Weak};
use ::ike::v1::sa_payload;
use ::ike::v1::vendor::Features;
use std::hint::black_box;

/// A whole datagram; a chain behind the type of its first payload, padded as after decryption; a body of each kind;
/// fragments, each behind its length.
pub fn codecs(data: &[u8]) {
    if let Ok(header) = Header::parse(data) {
        let rest = &data[::ike::message::HEADER_LEN..];
        chain(header.next, rest, false);
        for piece in fragment::split(data, header, 1, 100) {
            assert!(Header::parse(&piece).is_ok());
        }
    }
    if let Some((first, rest)) = data.split_first() {
        chain(PayloadType(*first), rest, true);
    }
    bodies(data);
    fragments(data);
}

fn chain(first: PayloadType, bytes: &[u8], padded: bool) {
    let Ok(body) = Body::parse(first, bytes, padded) else { return };
    assert!(body.after_hash.is_empty() || body.hash.is_some() && body.after_hash.len() < bytes.len());
    black_box(Features::of(&body.vendors));
    body.sa.into_iter().for_each(bodies);
    body.ids.into_iter().for_each(bodies);
    // What is known of it reads the same once it is written.
    let mut again = Builder::new();
    for notify in &body.notifies {
        again.push(kind::NOTIFY, |out| notify.emit(out));
    }
    for address in &body.nat_oa {
        again.raw(kind::NAT_OA, &payload::emit_nat_oa(*address));
    }
    let read = Body::parse(again.first(), again.bytes(), false).expect("what we write");
    assert_eq!((read.notifies, read.nat_oa), (body.notifies, body.nat_oa));
}

fn bodies(body: &[u8]) {
    if let Ok(proposals) = sa_payload::parse(body) {
        let mut again = Vec::new();
        sa_payload::emit(&proposals, &mut again);
        assert_eq!(sa_payload::parse(&again).as_ref(), Ok(&proposals));
        choose(&proposals);
    }
    if let Ok(delete) = Delete::parse(body) {
        let mut again = Vec::new();
        delete.emit(&mut again);
        assert_eq!(Delete::parse(&again), Ok(delete));
    }
    if let Ok(notify) = Notify::parse(body) {
        let mut again = Vec::new();
        notify.emit(&mut again);
        assert_eq!(again, body);
    }
    if let Ok(selector) = payload::parse_phase2_id(body) {
        assert_eq!(payload::parse_phase2_id(&payload::emit_phase2_id(&selector)), Ok(selector));
    }
    if let Ok(id) = payload::parse_phase1_id(body) {
        assert_eq!(payload::parse_phase1_id(&id.body()), Ok(id));
    }
}

fn choose(offered: &[sa_payload::Proposal]) {
    let from_offer = |reply: &sa_payload::Proposal| {
        assert_eq!(reply.transforms.len(), 1);
        assert!(offered.iter().any(|p| p.number == reply.number && p.transforms.contains(&reply.transforms[0])));
    };
    if let Some(choice) =
        proposal::choose_phase1(&Phase1::defaults(&Weak::ALL), offered, &[Method::Psk, Method::RsaSig])
    {
        from_offer(&choice.reply);
    }
    for (mode, udp, cut) in
        [(Mode::Transport, true, false), (Mode::Transport, false, true), (Mode::Tunnel, true, false)]
    {
        if let Some(choice) = proposal::choose_phase2(&proposal::esp_defaults(&Weak::ALL), offered, mode, udp, cut) {
            from_offer(&choice.reply);
            assert!(choice.spi_out > 255 && choice.mode == mode);
        }
    }
}

fn fragments(mut data: &[u8]) {
    let (mut held, now) = (Reassembler::default(), std::time::Instant::now());
    while let Some((&len, rest)) = data.split_first() {
        let Some((piece, rest)) = rest.split_at_checked(usize::from(len)) else { return };
        if let Ok(Some(message)) = held.add(piece, now, fragment::MAX_MESSAGE) {
            assert!(message.len() <= fragment::MAX_MESSAGE);
        }
        data = rest;
    }
}
