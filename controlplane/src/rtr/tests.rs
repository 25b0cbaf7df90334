use super::*;

fn vrp(n: u8) -> Vrp {
    Vrp { prefix: format!("10.{n}.0.0/16").parse().unwrap(), max_length: 24, asn: 65000 + u32::from(n) }
}

fn update(reset: bool, announced: &[u8], withdrawn: &[u8]) -> Update {
    let announced = announced.iter().map(|n| (true, vrp(*n)));
    let changes = announced.chain(withdrawn.iter().map(|n| (false, vrp(*n)))).collect();
    Update { reset, changes, session: 1, serial: 1, timers: Timers::default() }
}

fn caches(preferences: &[u8]) -> Caches {
    let cache = |(i, p): (usize, &u8)| RtrCache {
        name: format!("cache{i}"),
        address: [192, 0, 2, i as u8].into(),
        port: None,
        local: None,
        tls: None,
        preference: *p,
    };
    let mut caches = Caches::default();
    caches.configure(&preferences.iter().enumerate().map(cache).collect::<Vec<_>>());
    caches
}

/// The VRPs that were added and removed, by number.
fn told(change: Change) -> (Vec<u8>, Vec<u8>) {
    let numbers = |vrps: Vec<Vrp>| {
        let mut all: Vec<u8> = vrps.iter().map(|vrp| (vrp.asn - 65000) as u8).collect();
        all.sort_unstable();
        all
    };
    (numbers(change.added), numbers(change.removed))
}

#[test]
fn a_cache_is_followed_by_differences() {
    let (now, mut caches) = (Instant::now(), caches(&[1]));
    caches.connected(0);
    assert_eq!(caches.info(now)[0].state, "synchronizing");
    assert_eq!(told(caches.updated(now, 0, update(true, &[1, 2], &[])).unwrap()), (vec![1, 2], vec![]));
    assert_eq!(told(caches.updated(now, 0, update(false, &[3], &[1])).unwrap()), (vec![3], vec![1]));
    // Told all again, only what differs is a change.
    assert_eq!(told(caches.updated(now, 0, update(true, &[3, 4], &[])).unwrap()), (vec![4], vec![2]));
    // What comes and goes within an answer leaves nothing.
    let mut flicker = update(false, &[9], &[9]);
    flicker.serial = 7;
    assert_eq!(told(caches.updated(now, 0, flicker).unwrap()).0, Vec::<u8>::new());
    let info = &caches.info(now)[0];
    assert_eq!((info.state, info.used, info.ipv4, info.ipv6, info.serial), ("up", true, 2, 0, Some(7)));
}

#[test]
fn a_faulty_answer_changes_nothing() {
    let (now, mut caches) = (Instant::now(), caches(&[1]));
    caches.updated(now, 0, update(true, &[1, 2], &[])).unwrap();
    for (update, fault) in [
        (update(false, &[3, 2], &[]), Fault::Duplicate),
        (update(false, &[4], &[1, 5]), Fault::Unknown),
        (update(true, &[7, 7], &[]), Fault::Duplicate),
        (update(true, &[7], &[1]), Fault::Unknown),
    ] {
        assert_eq!(caches.updated(now, 0, update), Err(fault));
    }
    assert_eq!(told(caches.updated(now, 0, update(true, &[1, 2], &[])).unwrap()), (vec![], vec![]));
}

#[test]
fn the_most_preferred_cache_that_is_up_is_listened_to() {
    let (now, mut caches) = (Instant::now(), caches(&[20, 10]));
    assert_eq!(told(caches.updated(now, 0, update(true, &[1, 2], &[])).unwrap()), (vec![1, 2], vec![]));
    // A better one: the difference, without a gap.
    assert_eq!(told(caches.updated(now, 1, update(true, &[2, 3], &[])).unwrap()), (vec![3], vec![1]));
    // The other one may change what it likes.
    assert_eq!(told(caches.updated(now, 0, update(false, &[4], &[])).unwrap()), (vec![], vec![]));
    assert_eq!(told(caches.failed(1, "reset".into())), (vec![1, 4], vec![3]));
    let info = caches.info(now);
    assert_eq!((info[1].state, info[1].last_error.as_deref()), ("down, data kept", Some("reset")));
    // None is up: the better one's data count until they expire.
    assert_eq!(told(caches.failed(0, "reset".into())), (vec![3], vec![1, 4]));
    assert_eq!(caches.info(now).iter().map(|c| c.used).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn data_expire() {
    let (now, mut caches) = (Instant::now(), caches(&[1, 2]));
    let short = Update { timers: Timers::new(60, 60, 600), ..update(true, &[1], &[]) };
    caches.updated(now, 0, short).unwrap();
    caches.updated(now, 1, update(true, &[1, 2], &[])).unwrap();
    let at = caches.poll_timeout().unwrap();
    assert_eq!(at, now + Duration::from_secs(600));
    assert_eq!(told(caches.handle_timeout(at - Duration::from_secs(1))), (vec![], vec![]));
    // The next cache's data are there still.
    assert_eq!(told(caches.handle_timeout(at)), (vec![2], vec![]));
    // It is connected, and silent.
    assert_eq!((caches.info(at)[0].state, caches.info(at)[0].ipv4), ("synchronizing", 0));
    let at = caches.poll_timeout().unwrap();
    assert_eq!(told(caches.handle_timeout(at)), (vec![], vec![1, 2]));
    assert_eq!((caches.poll_timeout(), caches.info(at).iter().any(|c| c.used)), (None, false));
}

#[test]
fn news_keep_data_from_expiring() {
    let (now, mut caches) = (Instant::now(), caches(&[1]));
    caches.updated(now, 0, update(true, &[1], &[])).unwrap();
    let later = now + Duration::from_secs(7_000);
    caches.updated(later, 0, update(false, &[], &[])).unwrap();
    assert_eq!(caches.poll_timeout(), Some(later + Duration::from_secs(7_200)));
}

// RFC 8210, section 6.
#[test]
fn timers_have_bounds() {
    let seconds = |t: Timers| [t.refresh, t.retry, t.expire].map(|d| d.as_secs());
    assert_eq!(seconds(Timers::default()), [3600, 600, 7200]);
    assert_eq!(seconds(Timers::new(0, 0, 0)), [1, 1, 600]);
    assert_eq!(seconds(Timers::new(u32::MAX, u32::MAX, u32::MAX)), [86_400, 7_200, 172_800]);
    assert_eq!(seconds(Timers::new(3600, 600, 600)), [3600, 600, 3601]);
}

#[test]
fn other_caches_take_over_and_those_that_stay_go_on() {
    let (now, mut caches) = (Instant::now(), caches(&[1, 2]));
    caches.updated(now, 0, update(true, &[1, 2], &[])).unwrap();
    caches.updated(now, 1, update(true, &[2, 3], &[])).unwrap();
    let second = caches.caches[&1].config.clone();
    let new = RtrCache { name: "new".into(), preference: 0, ..second.clone() };
    assert_eq!(told(caches.configure(&[new.clone(), second.clone()])), (vec![3], vec![1]));
    let numbers: Vec<_> = caches.configured().map(|(i, c)| (i, c.name.clone())).collect();
    assert_eq!(numbers, [(1, second.name.clone()), (2, new.name.clone())]);
    // What the one that is gone says is not heard.
    assert_eq!(told(caches.updated(now, 0, update(false, &[9], &[])).unwrap()), (vec![], vec![]));
    assert_eq!(told(caches.updated(now, 2, update(true, &[7], &[])).unwrap()), (vec![7], vec![2, 3]));
    // Changed, it is another one.
    let changed = RtrCache { port: Some(8282), ..new };
    assert_eq!(told(caches.configure(&[changed, second])), (vec![2, 3], vec![7]));
    assert_eq!(told(caches.configure(&[])), (vec![], vec![2, 3]));
    assert!(caches.info(now).is_empty());
}
