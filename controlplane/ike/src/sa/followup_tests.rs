//! Two established IKE SAs whose messages are carried by hand, so that each can be left out or replaced.

use super::*;
use crate::auth::{IdMatch, Identity, LocalAuth, RemoteAuth};
use crate::config::{ChildPolicy, Config, PadEntry, Policy};
use crate::crypto::IkeKeys;
use crate::event::{ChildDownReason, Event, Meta, Transmit};
use crate::message::Header;
use crate::proposal::EspSuite;
use crate::proposal::ke::ML_KEM_768;
use crate::sa::channel::{Channel, Open};
use crate::sa::child::{Busy, ChildSa};
use crate::sa::established::{Remote, Task};
use crate::sa::nat::Nat;
use crate::sa::window::Window;
use crate::sa::{Effect, Handles, Sa, SpiSource, State};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

/// Inbound SPIs of the child SA that both ends have from the start.
const CHILD: [u32; 2] = [0x1000_0000, 0x2000_0000];

/// One end, with what an endpoint would keep for it.
struct End {
    sa: Sa,
    now: Instant,
    policy: Policy,
    rng: StdRng,
    spis: SpiSource,
    handles: Handles,
    events: VecDeque<Event>,
    transmits: VecDeque<Transmit>,
    effects: Vec<Effect>,
}

fn entry() -> PadEntry {
    let id: Identity = "peer.example.net".parse().unwrap();
    PadEntry {
        name: "peer".to_owned(),
        remote: IdMatch::Exact(id.clone()),
        remote_auth: RemoteAuth::psk(b"secret"),
        local_id: id,
        local_auth: LocalAuth::psk(b"secret"),
        ike_proposals: vec!["aes256gcm16-prfsha256-x25519".parse().unwrap()],
        child: ChildPolicy {
            esp_proposals: vec!["aes256gcm16-x25519".parse().unwrap()],
            rekey_after: Some(Duration::from_secs(100)),
            ..ChildPolicy::l2tp(false)
        },
        ike_rekey_after: Some(Duration::from_secs(1000)),
        dpd_delay: None,
        mlkem: true,
        force_encap: false,
        mobike: false,
        return_routability: true,
    }
}

fn address(side: u8) -> SocketAddr {
    ([192, 0, 2, side], 500).into()
}

impl End {
    fn new(side: u8, now: Instant) -> Self {
        let initiator = side == 0;
        let mut drawn = CHILD[usize::from(side)];
        let base = Base {
            spi: if initiator { 1 } else { 2 },
            peer_spi: if initiator { 2 } else { 1 },
            initiator,
            local: address(side),
            remote: address(1 - side),
            asked: Meta { local: address(side), remote: address(1 - side) },
            peer: Some(PeerHandle(NonZeroU32::MIN)),
            window: Window::default(),
            created: now,
            deadline: None,
            origin: None,
        };
        let mut end = Self {
            sa: Sa { base, state: State::Gone },
            now,
            policy: Policy::new(Arc::new(Config { fragment_size: (9000, 9000), ..Config::default() })),
            rng: StdRng::seed_from_u64(u64::from(side)),
            spis: Box::new(move |_, _| {
                drawn += 1;
                Some(drawn)
            }),
            handles: Handles::default(),
            events: VecDeque::new(),
            transmits: VecDeque::new(),
            effects: Vec::new(),
        };
        end.run(|sa, ctx| {
            let (pad, sk) = (entry(), SkSuite::from_ids(20, 256, 0).unwrap());
            let suite = IkeSuite { encr: (20, 256), integ: 0, prf: 5, ke: 31, addke1: Some(ML_KEM_768) };
            let keys = IkeKeys::derive(Prf::HmacSha256, sk, &[1; 32], &[2; 32], &[3; 32], 1, 2);
            let child = ChildSa {
                spi_in: CHILD[usize::from(side)],
                spi_out: CHILD[usize::from(1 - side)],
                suite: EspSuite { encr: (20, 256), integ: 0, esn: false, ke: None, addke1: None },
                mode: pad.child.mode,
                local_ts: pad.child.local_ts[0].resolve(address(side).ip()).into(),
                remote_ts: pad.child.remote_ts[0].resolve(address(1 - side).ip()).into(),
                rekey_at: None,
                replaces: None,
                selected: true,
                resource: None,
                busy: Busy::No,
            };
            let channel = Channel::new(suite, sk, keys, initiator, true, Nat::default());
            let remote = Remote { id: Arc::new(pad.local_id.clone()), chain: Arc::default(), eap: None };
            let mut established = Established::new(ctx, channel, Arc::new(pad), remote);
            established.children.push(child);
            sa.state = State::Established(Box::new(established));
        });
        end
    }

    fn run<T>(&mut self, act: impl FnOnce(&mut Sa, &mut Ctx<'_>) -> T) -> T {
        let mut ctx = Ctx {
            now: self.now,
            policy: &self.policy,
            rng: &mut self.rng,
            spis: &mut self.spis,
            handles: &mut self.handles,
            known: &|_| true,
            unix: None,
            events: &mut self.events,
            transmits: &mut self.transmits,
            effects: &mut self.effects,
        };
        act(&mut self.sa, &mut ctx)
    }

    fn act<T>(&mut self, act: impl FnOnce(&mut Established, &mut Base, &mut Ctx<'_>) -> T) -> T {
        self.run(|sa, ctx| {
            let State::Established(s) = &mut sa.state else { panic!("{}", sa.state.name()) };
            act(s, &mut sa.base, ctx)
        })
    }

    fn established(&mut self) -> &mut Established {
        match &mut self.sa.state {
            State::Established(s) => s,
            other => panic!("{}", other.name()),
        }
    }

    fn child(&mut self) -> ChildSa {
        self.established().children[0].clone()
    }

    /// Handles what the other end has sent.
    fn deliver(&mut self, from: &mut Self) {
        while let Some(t) = from.transmits.pop_front() {
            let header = Header::parse(&t.data).unwrap();
            let meta = Meta { local: t.remote, remote: t.local };
            assert!(self.run(|sa, ctx| sa.handle(ctx, meta, &header, &t.data)));
        }
    }

    /// The notifications in the next message of the other end.
    fn reads(&mut self, from: &mut Self) -> Vec<NotifyType> {
        let data = from.transmits.pop_front().unwrap().data;
        let header = Header::parse(&data).unwrap();
        let opened = self.established().channel.open(&header, &data, false);
        let Some(Open::Message(opened)) = opened else { panic!("{opened:?}") };
        let body = Body::parse(opened.first, &opened.plain).unwrap();
        body.notifies.iter().map(|n| n.kind).collect()
    }

    /// Inbound SPIs that went back unused.
    fn unused(&self) -> Vec<u32> {
        let unused = |e: &Event| match e {
            Event::ChildDown { spi_in, reason: ChildDownReason::Unused, .. } => Some(*spi_in),
            _ => None,
        };
        self.events.iter().filter_map(unused).collect()
    }
}

/// CREATE_CHILD_SA is done, for the IKE SA or the child SA; A's additional key exchange is sent and not delivered.
fn drafted(ike: bool) -> [End; 2] {
    let now = Instant::now();
    let (mut a, mut b) = (End::new(0, now), End::new(1, now));
    a.act(|s, base, ctx| {
        if ike {
            s.queue(Task::RekeyIke);
        } else {
            s.queue_rekey(CHILD[0]);
        }
        s.pump(base, ctx);
    });
    b.deliver(&mut a);
    a.deliver(&mut b);
    assert!(matches!(&a.established().request, Request::Followup(f) if f.draft.is_ike() == ike));
    assert_eq!((b.established().awaited.len(), b.established().awaits_ike()), (1, ike));
    assert!(a.events.is_empty() && b.events.is_empty() && a.effects.is_empty() && b.effects.is_empty());
    [a, b]
}

fn body(chain: &Builder) -> Body<'_> {
    Body::parse(chain.first(), chain.bytes()).unwrap()
}

fn child_up(end: &End) -> (&crate::event::Child, bool) {
    let Some(Event::ChildUp { child, select, .. }) = end.events.front() else { panic!("{:?}", end.events) };
    (child, *select)
}

#[test]
fn a_child_comes_up_after_its_followup_with_the_same_keys_at_both_ends() {
    let [mut a, mut b] = drafted(false);
    b.deliver(&mut a);
    assert!(!child_up(&b).1 && b.established().awaited.is_empty());
    a.deliver(&mut b);
    let ((x, selected), (y, _)) = (child_up(&a), child_up(&b));
    assert!(selected);
    assert_eq!((x.suite, x.suite.addke1, x.spi_in, x.spi_out), (y.suite, Some(ML_KEM_768), y.spi_out, y.spi_in));
    assert_eq!((&x.inbound.encr, &x.outbound.encr), (&y.outbound.encr, &y.inbound.encr));
    assert_eq!((x.replaces, y.replaces), (Some(CHILD[0]), Some(CHILD[1])));
    // A deletes the old one.
    b.deliver(&mut a);
    a.deliver(&mut b);
    assert_eq!((a.established().children.len(), b.established().children.len()), (1, 1));
}

#[test]
fn an_ike_sa_comes_up_after_its_followup() {
    let [mut a, mut b] = drafted(true);
    b.deliver(&mut a);
    a.deliver(&mut b);
    for (end, other) in [(&a, &b), (&b, &a)] {
        let [Effect::Adopt { sa, current: true }] = &end.effects[..] else { panic!("{:?}", end.effects) };
        let [Effect::Adopt { sa: peer, .. }] = &other.effects[..] else { panic!("{:?}", other.effects) };
        let (State::Established(s), State::Established(p)) = (&sa.state, &peer.state) else { panic!() };
        assert_eq!(sa.base.spis(), peer.base.spis());
        assert_eq!((s.children.len(), s.channel.suite.addke1), (1, Some(ML_KEM_768)));
        assert_eq!(s.channel.keys.protect(true), p.channel.keys.protect(true));
    }
}

#[test]
fn what_a_responder_refuses() {
    let public = KeyExchange::initiate(KeMethod::MlKem768).unwrap().1;
    type Change = fn(&mut Established);
    let nothing: Change = |_| ();
    let closing: Change = |s| s.queue_close(DownReason::Closed);
    let superseded: Change = |s| s.superseded = true;
    let busy: Change = |s| {
        if s.awaits_ike() {
            s.request = Request::DeleteChild(1, ChildDownReason::Closed);
        } else {
            s.queue_close(DownReason::Closed);
        }
    };
    let (method, syntax, temporary) = (ML_KEM_768, NotifyType::INVALID_SYNTAX, NotifyType::TEMPORARY_FAILURE);
    // The state, whether there is a link and the right one, the key exchange; the answer, and whether the draft stays.
    for ike in [false, true] {
        for (change, own_link, ke, answer, stays) in [
            (nothing, None, Some((method, &public[..])), syntax, true),
            (nothing, Some(false), Some((method, &public[..])), NotifyType::STATE_NOT_FOUND, true),
            (nothing, Some(true), None, syntax, false),
            (nothing, Some(true), Some((31, &public[..32])), syntax, false),
            (nothing, Some(true), Some((method, &public[..1183])), syntax, false),
            (closing, Some(true), Some((method, &public[..])), temporary, false),
            (superseded, Some(true), Some((method, &public[..])), temporary, false),
            (busy, Some(true), Some((method, &public[..])), temporary, false),
        ] {
            let [mut a, mut b] = drafted(ike);
            change(b.established());
            let mut chain = Builder::new();
            if let Some((method, data)) = ke {
                chain.ke(method, data);
            }
            if let Some(right) = own_link {
                let link = if right { b.established().awaited[0].link } else { [0; 8] };
                chain.notify(NotifyType::ADDITIONAL_KEY_EXCHANGE, &link);
            }
            b.act(|s, base, ctx| s.follow_up(base, ctx, &body(&chain)));
            assert_eq!(a.reads(&mut b), [answer], "{ike} {own_link:?} {:?}", ke.map(|k| k.0));
            assert_eq!(b.established().awaited.len(), usize::from(stays));
            assert_eq!(b.unused().len(), usize::from(!stays && !ike));
            assert!(b.effects.is_empty() && b.events.len() == b.unused().len());
        }
    }
}

#[test]
fn a_draft_that_is_not_followed_up_is_forgotten() {
    for ike in [false, true] {
        let [mut a, mut b] = drafted(ike);
        let until = b.now + b.policy.config.timers.half_open;
        assert_eq!(b.act(|s, base, _| s.deadline(base)), Some(until));
        b.now = until - Duration::from_millis(1);
        b.act(|s, base, ctx| s.expire_awaited(base, ctx));
        assert_eq!(b.established().awaited.len(), 1);
        b.now = until;
        b.act(|s, base, ctx| s.expire_awaited(base, ctx));
        assert_eq!((b.established().awaited.len(), b.unused().len()), (0, usize::from(!ike)));
        // The rekey is up to us now.
        let retry = Some(until + b.policy.config.timers.retry);
        assert_eq!(if ike { b.established().rekey_at } else { b.child().rekey_at }, retry);
        // The other end is late, and learns it.
        b.deliver(&mut a);
        a.deliver(&mut b);
        assert!(matches!(a.established().request, Request::None));
        assert_eq!(a.unused().len(), usize::from(!ike));
        assert!(if ike { a.established().rekey_at } else { a.child().rekey_at }.is_some());
        assert_eq!(a.child().busy, Busy::No);
    }
}

#[test]
fn what_an_initiator_makes_of_an_answer() {
    let fails = |ike: bool, chain: &Builder| {
        let [mut a, _] = drafted(ike);
        a.act(|s, base, ctx| {
            base.window.answered(1);
            let Request::Followup(f) = std::mem::replace(&mut s.request, Request::None) else { panic!() };
            s.finish_followup(base, ctx, *f, &body(chain));
        });
        a
    };
    let mut refused = Builder::new();
    refused.notify(NotifyType::STATE_NOT_FOUND, &[]);
    let mut a = fails(false, &refused);
    assert_eq!((a.unused(), a.child().busy, a.child().rekey_at.is_some()), (vec![CHILD[0] + 1], Busy::No, true));
    let mut a = fails(true, &refused);
    assert!(a.established().closing.is_none() && !a.established().superseded);
    let retry = Some(a.now + a.policy.config.timers.retry);
    assert_eq!(a.established().rekey_at, retry);
    // The peer has an SA now, and we have no keys for it.
    let (mut other, mut short) = (Builder::new(), Builder::new());
    other.ke(31, &[1; 32]);
    short.ke(ML_KEM_768, &[1; 1087]);
    for unusable in [Builder::new(), other, short] {
        let mut a = fails(false, &unusable);
        assert_eq!(a.established().unmade, [CHILD[0] + 1]);
        assert_eq!(a.established().tasks, [Task::DeleteChild(CHILD[0] + 1, ChildDownReason::Closed)]);
        assert!(a.unused().is_empty() && a.child().busy == Busy::No);
        let mut a = fails(true, &unusable);
        assert_eq!(a.established().tasks, [Task::DeleteIke]);
    }
}

#[test]
fn an_answer_without_a_link_ends_the_rekey() {
    for ike in [false, true] {
        let [mut a, _] = drafted(ike);
        a.act(|s, base, ctx| {
            base.window.answered(1);
            let Request::Followup(f) = std::mem::replace(&mut s.request, Request::None) else { panic!() };
            s.start_followup(base, ctx, f.method, &Body::default(), f.draft, None);
            assert!(matches!(s.request, Request::None));
        });
        assert_eq!(a.unused().len(), usize::from(!ike));
    }
}

#[test]
fn no_rekey_of_the_same_sa_while_a_followup_is_on_its_way() {
    for (ike, other_ike) in [(false, false), (false, true), (true, false), (true, true)] {
        let [mut a, mut b] = drafted(ike);
        let followup = std::mem::take(&mut a.transmits);
        b.act(|s, base, ctx| match other_ike {
            true => s.start_rekey_ike(base, ctx, None),
            false => s.start_rekey_child(base, ctx, CHILD[1], None),
        });
        a.deliver(&mut b);
        assert!(a.established().awaited.is_empty());
        assert_eq!(b.reads(&mut a), [NotifyType::TEMPORARY_FAILURE], "{ike} {other_ike}");
        assert!(matches!(a.established().request, Request::Followup(_)));
        a.transmits = followup;
    }
}

#[test]
fn nothing_is_begun_while_the_peer_replaces_the_ike_sa() {
    let [_, mut b] = drafted(true);
    b.act(|s, base, ctx| {
        s.queue_rekey(CHILD[1]);
        s.queue(Task::RekeyIke);
        s.pump(base, ctx);
    });
    assert!(b.transmits.is_empty());
    b.act(|s, base, ctx| {
        s.queue(Task::Dpd);
        s.pump(base, ctx);
    });
    assert_eq!((b.transmits.len(), b.established().tasks.len()), (1, 2));
    // When it comes to nothing, the tasks go on.
    let [_, mut b] = drafted(true);
    b.now += b.policy.config.timers.half_open;
    b.act(|s, base, ctx| {
        s.queue_rekey(CHILD[1]);
        s.expire_awaited(base, ctx);
        s.pump(base, ctx);
    });
    assert_eq!(b.transmits.len(), 1);
}

#[test]
fn another_rekey_of_the_same_sa_replaces_the_draft() {
    for ike in [false, true] {
        let [_, mut b] = drafted(ike);
        let first = b.established().awaited[0].link;
        // A peer that numbers its requests from the start again.
        b.sa.base.window = Window::default();
        let mut fresh = End::new(0, b.now);
        fresh.act(|s, base, ctx| match ike {
            true => s.start_rekey_ike(base, ctx, None),
            false => s.start_rekey_child(base, ctx, CHILD[0], None),
        });
        b.deliver(&mut fresh);
        assert_eq!(b.established().awaited.len(), 1);
        assert_ne!(b.established().awaited[0].link, first);
        assert_eq!(b.unused().len(), usize::from(!ike));
    }
}

#[test]
fn an_sa_that_goes_gives_back_what_it_offered() {
    let [mut a, mut b] = drafted(false);
    for end in [&mut a, &mut b] {
        end.act(|s, base, ctx| s.down(base, ctx, DownReason::Dead));
        assert_eq!(end.unused().len(), 1);
        assert!(matches!(end.events.back(), Some(Event::PeerDown { .. })));
    }
    let [mut a, _] = drafted(false);
    a.run(|sa, ctx| {
        let State::Established(s) = std::mem::replace(&mut sa.state, State::Gone) else { panic!() };
        sa.base.window.answered(1);
        sa.state = s.broken(&mut sa.base, ctx);
    });
    assert_eq!((a.unused().len(), a.established().unmade.len()), (0, 1));
}
