use super::*;
use crate::fsm::State;
use crate::packet::Diag;
use rand::SeedableRng;
use rand::rngs::StdRng;

fn ms(tx: u32, rx: u32) -> Intervals {
    Intervals { desired_min_tx: tx * 1000, required_min_rx: rx * 1000 }
}

fn packet(intervals: Intervals, detect_mult: u8, final_: bool) -> Packet {
    Packet {
        diag: Diag::None,
        state: State::Up,
        poll: false,
        final_,
        control_plane_independent: false,
        demand: false,
        detect_mult,
        my_discriminator: 1,
        your_discriminator: 2,
        desired_min_tx: intervals.desired_min_tx,
        required_min_rx: intervals.required_min_rx,
        required_min_echo_rx: 0,
    }
}

fn times(n: &Negotiation) -> (u128, u128) {
    (n.tx_interval().map_or(0, |i| i.as_millis()), n.detection_time().as_millis())
}

/// Up with our 100 ms each way, the peer's 40 ms each way and multiplier 3, no Poll Sequence.
fn up() -> Negotiation {
    let mut n = Negotiation::new(ms(100, 100), 5);
    n.heard(&packet(ms(40, 40), 3, false));
    n.settle(true, true);
    n.heard(&packet(ms(40, 40), 3, true));
    n.heard(&packet(ms(40, 40), 3, false));
    n.settle(true, true);
    assert!(!n.polling());
    assert_eq!((n.advertised(), times(&n)), (ms(100, 100), (100, 300)));
    n
}

#[test]
fn the_slower_of_both_counts_in_each_direction() {
    let mut n = up();
    n.heard(&packet(ms(250, 40), 3, false));
    assert_eq!(times(&n), (100, 750));
    n.heard(&packet(ms(40, 250), 4, false));
    assert_eq!(times(&n), (250, 400));
    assert_eq!(n.remote_detection_time().as_millis(), 1250);
    n.heard(&packet(ms(40, 0), 4, false));
    assert_eq!(n.tx_interval(), None);
}

#[test]
fn slow_until_up() {
    let mut n = Negotiation::new(ms(50, 20), 3);
    assert_eq!((n.advertised(), n.tx_interval()), (ms(1000, 20), Some(Duration::from_secs(1))));
    n.settle(false, false);
    assert!(!n.polling(), "there is nobody to poll");
    n.heard(&packet(ms(1000, 20), 3, false));
    n.settle(false, true);
    assert_eq!((n.polling(), times(&n)), (false, (1000, 3000)));
    n.settle(true, true);
    assert_eq!((n.polling(), n.advertised(), times(&n)), (true, ms(50, 20), (50, 3000)));

    // Slower than a second by configuration: no change, no poll.
    let mut n = Negotiation::new(ms(1500, 20), 3);
    assert_eq!(n.advertised(), ms(1500, 20));
    n.settle(true, true);
    assert!(!n.polling());
}

#[test]
fn down_is_slow_at_once_and_polls_the_peer_that_is_there() {
    let mut n = up();
    n.settle(false, true);
    assert_eq!((n.polling(), n.advertised(), times(&n)), (true, ms(1000, 100), (1000, 300)));
    let mut n = up();
    n.forget_peer();
    n.settle(false, false);
    assert_eq!((n.polling(), n.advertised()), (false, ms(1000, 100)));
}

/// RFC 5880, section 6.8.3: sending more seldom waits for the Final, waiting longer does not.
#[test]
fn slower_while_up() {
    let mut n = up();
    n.configure(ms(400, 200), 5);
    n.settle(true, true);
    assert_eq!((n.polling(), n.advertised(), times(&n)), (true, ms(400, 200), (100, 600)));
    n.heard(&packet(ms(40, 40), 3, false));
    n.settle(true, true);
    assert_eq!((n.polling(), times(&n)), (true, (100, 600)));
    n.heard(&packet(ms(40, 40), 3, true));
    n.settle(true, true);
    assert_eq!((n.polling(), times(&n)), (false, (400, 600)));
}

/// Sending more often does not wait for the Final, waiting less long does.
#[test]
fn faster_while_up() {
    let mut n = up();
    n.configure(ms(50, 60), 5);
    n.settle(true, true);
    assert_eq!((n.polling(), n.advertised(), times(&n)), (true, ms(50, 60), (50, 300)));
    n.heard(&packet(ms(40, 40), 3, true));
    assert_eq!((n.polling(), times(&n)), (false, (50, 180)));
}

#[test]
fn a_second_change_waits_for_a_packet_after_the_final() {
    let mut n = up();
    n.configure(ms(50, 100), 5);
    n.settle(true, true);
    n.configure(ms(300, 100), 5);
    n.settle(true, true);
    assert_eq!(n.advertised(), ms(50, 100));
    n.heard(&packet(ms(40, 40), 3, true));
    n.settle(true, true);
    assert_eq!((n.polling(), n.advertised()), (false, ms(50, 100)));
    n.heard(&packet(ms(40, 40), 3, true));
    n.settle(true, true);
    assert_eq!((n.polling(), n.advertised()), (false, ms(50, 100)), "the same Final again");
    n.heard(&packet(ms(40, 40), 3, false));
    n.settle(true, true);
    assert_eq!((n.polling(), n.advertised(), times(&n)), (true, ms(300, 100), (50, 300)));
}

#[test]
fn what_a_poll_put_off_is_in_force_when_the_session_goes_down() {
    let mut n = up();
    n.configure(ms(2000, 50), 5);
    n.settle(true, true);
    assert_eq!(times(&n), (100, 300));
    n.settle(false, true);
    assert_eq!(times(&n), (2000, 150));
}

#[test]
fn a_final_that_nobody_asked_for_changes_nothing() {
    let mut n = up();
    n.heard(&packet(ms(40, 40), 3, true));
    n.configure(ms(400, 100), 5);
    n.settle(true, true);
    assert_eq!((n.polling(), times(&n)), (true, (100, 300)));
}

#[test]
fn multiplier_needs_no_poll() {
    let mut n = up();
    n.configure(ms(100, 100), 9);
    n.settle(true, true);
    assert_eq!((n.polling(), n.detect_mult(), times(&n)), (false, 9, (100, 300)));
}

#[test]
fn jitter_has_its_bounds_and_uses_them() {
    let mut rng = StdRng::seed_from_u64(1);
    for (mult, most) in [(1, 900), (2, 1000), (3, 1000)] {
        let n = Negotiation::new(ms(1, 1), mult);
        let drawn: Vec<_> = (0..20_000).map(|_| n.jittered(Duration::from_millis(1), &mut rng).as_micros()).collect();
        assert_eq!((drawn.iter().min(), drawn.iter().max()), (Some(&750), Some(&most)));
    }
    let n = Negotiation::new(ms(1, 1), 1);
    for micros in [1, 2, 3, 7, u64::from(u32::MAX)] {
        let got = n.jittered(Duration::from_micros(micros), &mut rng).as_micros();
        assert!(got > 0 && got * 100 >= u128::from(micros) * 75 && got <= u128::from(micros), "{micros}: {got}");
    }
}
