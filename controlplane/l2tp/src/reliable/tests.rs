use super::*;
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);

/// What goes out now: (Ns, Nr, first octet of the body, or 0 of a ZLB).
fn sent(r: &mut Reliable, now: Instant) -> Vec<(u16, u16, u8)> {
    let mut all = Vec::new();
    while let Some(f) = r.poll(now) {
        all.push((f.ns, f.nr, f.body.first().copied().unwrap_or(0)));
    }
    all
}

fn queue(r: &mut Reliable, bodies: std::ops::RangeInclusive<u8>) {
    bodies.for_each(|b| r.send(0, vec![b]));
}

fn delivered(r: &mut Reliable) -> Vec<u8> {
    std::iter::from_fn(|| r.deliver()).map(|(_, body)| body[0]).collect()
}

// RFC 2661, section 5.8.
#[test]
fn a_message_is_acknowledged_by_a_zlb_or_by_the_next_message() {
    let now = Instant::now();
    let mut r = Reliable::new(4);
    assert_eq!(r.receive(0, 0, &[7]), Arrival::New);
    assert_eq!(delivered(&mut r), [7]);
    // Nothing of ours to send: a ZLB, whose Ns is the next one and stays so.
    assert_eq!(sent(&mut r, now), [(0, 1, 0)]);
    assert_eq!(sent(&mut r, now), []);
    r.receive(1, 0, &[8]);
    assert_eq!(delivered(&mut r), [8]);
    r.send(0, vec![9]);
    assert_eq!(sent(&mut r, now), [(0, 2, 9)], "the message carries it");
    // A ZLB says nothing but its Nr, and is not acknowledged itself.
    assert_eq!(r.receive(2, 0, &[]), Arrival::Ack);
    assert_eq!(sent(&mut r, now), []);
}

// Appendix A: the congestion window begins at one, grows by one with each acknowledgement up to the threshold, which is
// the peer's window at first, and then by one with each window's worth.
#[test]
fn slow_start_up_to_the_peers_window() {
    let now = Instant::now();
    let mut r = Reliable::new(4);
    r.set_peer_window(4);
    queue(&mut r, 1..=20);
    let mut bursts = Vec::new();
    for _ in 0..5 {
        let out = sent(&mut r, now);
        bursts.push(out.len());
        r.acknowledge(now, out.last().unwrap().0 + 1);
    }
    assert_eq!(bursts, [1, 2, 4, 4, 4]);
}

#[test]
fn a_window_of_one_is_kept() {
    let now = Instant::now();
    let mut r = Reliable::new(4);
    r.set_peer_window(0); // nobody can take none
    queue(&mut r, 1..=3);
    for n in 0..3 {
        assert_eq!(sent(&mut r, now), [(n, 0, n as u8 + 1)]);
        r.acknowledge(now, n + 1);
    }
    assert!(r.is_idle());
}

#[test]
fn the_interval_doubles_up_to_eight_seconds_and_an_acknowledgement_starts_over() {
    let mut now = Instant::now();
    let mut r = Reliable::new(4);
    queue(&mut r, 1..=2);
    assert_eq!(sent(&mut r, now), [(0, 0, 1)]);
    for seconds in [1, 2, 4, 8, 8] {
        assert_eq!(r.timeout(), Some(now + seconds * SECOND));
        assert!(!r.expire(now + seconds * SECOND - Duration::from_millis(1)));
        now += seconds * SECOND;
        assert!(r.expire(now));
        assert_eq!(sent(&mut r, now), [(0, 0, 1)]);
    }
    assert_eq!(r.attempts(), 5);
    r.acknowledge(now, 1);
    assert_eq!((r.attempts(), sent(&mut r, now)), (0, vec![(1, 0, 2)]));
    assert_eq!(r.timeout(), Some(now + SECOND));
    assert_eq!(retransmission_time(5), 31 * SECOND);
}

// Appendix A: after a loss the threshold is half the window, and the window one again; everything in flight is repeated.
#[test]
fn a_loss_halves_the_threshold_and_begins_at_one() {
    let mut now = Instant::now();
    let mut r = Reliable::new(4);
    r.set_peer_window(8);
    queue(&mut r, 1..=40);
    for acknowledged in [1, 3, 7] {
        sent(&mut r, now);
        r.acknowledge(now, acknowledged);
    }
    assert_eq!(sent(&mut r, now).len(), 8);
    now += SECOND;
    assert!(r.expire(now));
    assert_eq!(sent(&mut r, now), [(7, 0, 8)], "the oldest, alone");
    // Slow start to the threshold of 4, then one more with each whole window.
    let mut bursts = Vec::new();
    let mut next = 8;
    for _ in 0..6 {
        r.acknowledge(now, next);
        let out = sent(&mut r, now);
        bursts.push(out.len());
        next = out.last().unwrap().0 + 1;
    }
    assert_eq!(bursts, [2, 4, 5, 6, 7, 8]);
}

#[test]
fn an_acknowledgement_of_what_was_never_sent_says_nothing() {
    let now = Instant::now();
    let mut r = Reliable::new(4);
    queue(&mut r, 1..=3);
    sent(&mut r, now);
    for nr in [0, 2, 3, 0x7fff, 0x8000, 0xffff] {
        r.acknowledge(now, nr);
        assert!(sent(&mut r, now).is_empty(), "{nr}");
    }
    // One that was sent before a loss may still be acknowledged, though it is not in flight any more.
    r.acknowledge(now, 1);
    assert_eq!(sent(&mut r, now).len(), 2);
    assert!(r.expire(now + 2 * SECOND));
    r.acknowledge(now, 3);
    assert!(r.is_idle());
}

#[test]
fn order_is_kept_repeats_are_acknowledged_and_the_window_is_ours() {
    let now = Instant::now();
    let mut r = Reliable::new(3);
    assert_eq!(r.receive(2, 0, &[3]), Arrival::New);
    assert_eq!(r.receive(2, 0, &[3]), Arrival::Duplicate);
    assert_eq!(r.receive(3, 0, &[4]), Arrival::Window);
    assert_eq!(delivered(&mut r), []);
    assert_eq!(sent(&mut r, now), [(0, 0, 0)]);
    r.receive(1, 0, &[2]);
    assert_eq!(r.receive(0, 0, &[1]), Arrival::New);
    assert_eq!(delivered(&mut r), [1, 2, 3]);
    assert_eq!(sent(&mut r, now), [(0, 3, 0)]);
    // MUST be acknowledged again: our ZLB may be lost.
    assert_eq!(r.receive(0, 0, &[1]), Arrival::Duplicate);
    assert_eq!((delivered(&mut r), sent(&mut r, now)), (vec![], vec![(0, 3, 0)]));
    assert_eq!(r.receive(6, 0, &[9]), Arrival::Window);
    assert_eq!(sent(&mut r, now), [], "dropped without a word");
}

// Section 5.8: comparisons are modulo 2^16, the 32,768 numbers before the expected one are old.
#[test]
fn numbers_wrap() {
    let now = Instant::now();
    let (mut a, mut b) = (Reliable::new(4), Reliable::new(4));
    for n in 0..0x1_0010_u32 {
        a.send(0, vec![n as u8 | 1]);
        let (ns, body) = {
            let f = a.poll(now).unwrap();
            (f.ns, f.body.to_vec())
        };
        assert_eq!((ns, b.receive(ns, 0, &body)), (n as u16, Arrival::New));
        assert_eq!(delivered(&mut b), [n as u8 | 1]);
        let nr = b.poll(now).unwrap().nr;
        a.acknowledge(now, nr);
        assert!(a.is_idle(), "{n}");
    }
    assert_eq!(b.receive(0x0010_u16.wrapping_sub(0x8000), 0, &[1]), Arrival::Duplicate);
}

#[test]
fn closing_drops_what_was_not_sent_and_then_all() {
    let now = Instant::now();
    let mut r = Reliable::new(4);
    queue(&mut r, 1..=3);
    assert_eq!(sent(&mut r, now).len(), 1);
    r.drop_unsent();
    r.send(0, vec![99]);
    r.acknowledge(now, 1);
    assert_eq!(sent(&mut r, now), [(1, 0, 99)]);
    r.stop_sending();
    assert!(r.is_idle() && r.timeout().is_none() && !r.expire(now + 60 * SECOND));
    // Repeats of the peer's last message are still answered, with the number that comes next.
    r.receive(0, 0, &[1]);
    delivered(&mut r);
    assert_eq!(sent(&mut r, now), [(2, 1, 0)]);
}

proptest! {
    /// Everything arrives once and in order over a link that loses, repeats and reorders.
    #[test]
    fn over_any_link(seed in any::<u64>(), windows in (1u16..9, 1u16..9)) {
        use rand::{RngExt, SeedableRng};
        let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
        let mut now = Instant::now();
        let mut ends = [Reliable::new(windows.0), Reliable::new(windows.1)];
        ends[0].set_peer_window(windows.1);
        ends[1].set_peer_window(windows.0);
        ends.iter_mut().for_each(|e| queue(e, 1..=30));
        let mut got = [Vec::new(), Vec::new()];
        let mut link: Vec<(usize, u16, u16, Vec<u8>)> = Vec::new();
        for _ in 0..4000 {
            for (i, end) in ends.iter_mut().enumerate() {
                end.expire(now);
                while let Some(f) = end.poll(now) {
                    for _ in 0..[0, 1, 1, 2][rng.random_range(0..4)] {
                        link.push((1 - i, f.ns, f.nr, f.body.to_vec()));
                    }
                }
            }
            if !link.is_empty() {
                let (to, ns, nr, body) = link.swap_remove(rng.random_range(0..link.len()));
                ends[to].receive(ns, 0, &body);
                ends[to].acknowledge(now, nr);
                got[to].extend(delivered(&mut ends[to]));
            } else {
                now += SECOND;
            }
        }
        let all: Vec<u8> = (1..=30).collect();
        prop_assert_eq!(&got, &[all.clone(), all]);
        prop_assert!(ends.iter().all(Reliable::is_idle));
    }

    #[test]
    fn garbage(inputs in prop::collection::vec((any::<u16>(), any::<u16>(), 0..3usize), 0..200)) {
        let mut now = Instant::now();
        let mut r = Reliable::new(4);
        queue(&mut r, 1..=9);
        for (ns, nr, len) in inputs {
            r.receive(ns, 0, &vec![1; len]);
            r.acknowledge(now, nr);
            delivered(&mut r);
            let out = sent(&mut r, now);
            prop_assert!(out.len() <= 9 + 1);
            now += Duration::from_millis(300);
            r.expire(now);
        }
    }
}
