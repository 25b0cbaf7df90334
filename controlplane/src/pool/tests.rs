use super::*;

fn whole(a: &mut Allocator) -> Vec<String> {
    a.whole().collect()
}
use proptest::prelude::*;

fn pools(v4: &str, v6: &str) -> Pools {
    Pools {
        ipv4: vec![v4.parse().expect("v4")],
        ipv6: vec![v6.parse().expect("v6")],
        delegated: vec!["2001:db8:f000::/55".parse().expect("pd")],
        ..Pools::default()
    }
}

#[test]
fn leases_are_unique_sticky_and_end() {
    let mut a = Allocator::new(&pools("10.0.0.0/29", "2001:db8::/62"), &[], Some(Ipv4Addr::new(10, 0, 0, 1)), 100);
    let got: Vec<_> = (0..6).map(|i| a.lease(Kind::Ipv4, "", &format!("u{i}"), i)).collect();
    // .0 and .7 are the edges, .1 is ours.
    let text: Vec<_> = got.iter().flatten().map(ToString::to_string).collect();
    assert_eq!(text, ["10.0.0.2/32", "10.0.0.3/32", "10.0.0.4/32", "10.0.0.5/32", "10.0.0.6/32"]);
    assert_eq!(got[5], Err(Refused::Exhausted));
    a.give_back(got[1].expect("leased"), 1);
    a.give_back(got[3].expect("leased"), 3);
    assert_eq!(a.lease(Kind::Ipv4, "", "u3", 7), got[3]);
    assert_eq!(a.lease(Kind::Ipv4, "", "new", 8), got[1]);
    assert_eq!(a.lease(Kind::Ipv4, "", "u1", 9), Err(Refused::Exhausted));
}

#[test]
fn other_pools_leave_what_is_held() {
    let local = Some(Ipv4Addr::new(10, 0, 0, 1));
    let with = |v4: &[&str]| Pools { ipv4: v4.iter().map(|n| n.parse().unwrap()).collect(), ..Pools::default() };
    let mut a = Allocator::new(&with(&["10.0.0.0/30", "10.0.1.0/30"]), &[], local, 100);
    let text = |r: Result<IpPrefix, Refused>| r.map(|p| p.address().to_string());
    let lease = |a: &mut Allocator, user: &str, n| text(a.lease(Kind::Ipv4, "", user, n));
    let [one, two, three] = [("a", 1), ("b", 2), ("c", 3)].map(|(user, n)| lease(&mut a, user, n).unwrap());
    assert_eq!([&*one, &*two, &*three], ["10.0.0.2", "10.0.1.1", "10.0.1.2"]);
    assert_eq!(lease(&mut a, "d", 4), Err(Refused::Exhausted));
    let host = |text: &str| IpPrefix::host(text.parse().unwrap());
    // Another network: held ones are not given again, and what somebody had is kept for him while there is a new one.
    a.give_back(host(&two), 2);
    a.configure(&with(&["10.0.2.0/30", "10.0.0.0/30", "10.0.1.0/30"]), &[], local);
    assert_eq!(lease(&mut a, "d", 4).as_deref(), Ok("10.0.2.1"));
    assert_eq!(lease(&mut a, "b", 5).as_deref(), Ok("10.0.1.1"));
    // A network that is gone is held until released, and does not come back by that.
    a.configure(&with(&["10.0.2.0/30"]), &[], local);
    assert_eq!(a.claim(host(&one), 9), Err(Refused::Held(1)));
    for (p, n) in [(&one, 1), (&two, 5), (&three, 3)] {
        a.give_back(host(p), n);
    }
    assert_eq!(lease(&mut a, "a", 6).as_deref(), Ok("10.0.2.2"));
    assert_eq!(lease(&mut a, "b", 7), Err(Refused::Exhausted));
    // None at all, and back again.
    a.configure(&with(&[]), &[], local);
    assert_eq!(lease(&mut a, "b", 7), Err(Refused::Unknown));
    a.configure(&with(&["10.0.2.0/29"]), &[], local);
    let all: Vec<_> = std::iter::from_fn(|| lease(&mut a, "e", 8).ok()).collect();
    assert_eq!(all, ["10.0.2.3", "10.0.2.4", "10.0.2.5", "10.0.2.6"]);
}

#[test]
fn a_reserved_address_is_nobody_elses_from_then_on_and_until_then() {
    let fixed = |ipv4: &str| {
        let yaml = format!("{{ user: f, secret: s, ipv4: {ipv4} }}");
        vec![serde_saphyr::from_str::<Subscriber>(&yaml).unwrap()]
    };
    let pools = pools("10.0.0.0/29", "2001:db8::/64");
    let mut a = Allocator::new(&pools, &fixed("10.0.0.1"), None, 100);
    let all = |a: &mut Allocator| {
        let got: Vec<_> = std::iter::from_fn(|| a.lease(Kind::Ipv4, "", "x", 1).ok()).collect();
        got.iter().for_each(|p| a.give_back(*p, 1));
        got.into_iter().map(|p| p.address()).collect::<std::collections::BTreeSet<_>>()
    };
    let but = |n: u8| -> std::collections::BTreeSet<IpAddr> {
        (1..=6).filter(|i| *i != n).map(|i| IpAddr::from([10, 0, 0, i])).collect()
    };
    assert_eq!(all(&mut a), but(1));
    a.configure(&pools, &fixed("10.0.0.4"), None);
    assert_eq!(all(&mut a), but(4));
    a.configure(&pools, &[], None);
    assert_eq!(all(&mut a).len(), 6);
}

#[test]
fn prefixes_are_cut_to_size() {
    let mut a = Allocator::new(&pools("10.0.0.0/30", "2001:db8::/62"), &[], None, 100);
    let mut all =
        |kind| std::iter::from_fn(|| a.lease(kind, "", "x", 1).ok()).map(|p| p.to_string()).collect::<Vec<_>>();
    assert_eq!(all(Kind::Ipv6), ["2001:db8::/64", "2001:db8:0:1::/64", "2001:db8:0:2::/64", "2001:db8:0:3::/64"]);
    assert_eq!(all(Kind::Delegated), ["2001:db8:f000::/56", "2001:db8:f000:100::/56"]);
}

#[test]
fn a_lease_ends_once_and_by_its_holder() {
    let mut a = Allocator::new(&pools("10.0.0.0/30", "2001:db8::/64"), &[], None, 100);
    let l = a.lease(Kind::Ipv6, "", "x", 1).expect("one");
    a.give_back(l, 2);
    assert_eq!(a.lease(Kind::Ipv6, "", "y", 2), Err(Refused::Exhausted));
    a.give_back(l, 1);
    a.give_back(l, 1);
    assert_eq!(a.lease(Kind::Ipv6, "", "y", 2), Ok(l));
    assert_eq!(a.lease(Kind::Ipv6, "", "z", 3), Err(Refused::Exhausted));
}

#[test]
fn what_aaa_gives_is_nobody_elses() {
    let mut a = Allocator::new(&pools("10.0.0.0/29", "2001:db8::/62"), &[], Some(Ipv4Addr::new(10, 0, 0, 1)), 100);
    let p = |text: &str| {
        let n: IpNet = text.parse().unwrap();
        IpPrefix::new(n.network(), n.prefix_len()).unwrap()
    };
    assert_eq!(a.claim(p("10.0.0.2/32"), 1), Ok(()));
    assert_eq!(a.claim(p("10.0.0.2/32"), 2), Err(Refused::Held(1)));
    assert_eq!(a.claim(p("10.0.0.0/24"), 2), Err(Refused::Reserved));
    assert_eq!(a.claim(p("2001:db8::/60"), 3), Ok(()));
    assert_eq!(a.claim(p("2001:db8:0:2::/64"), 4), Err(Refused::Held(3)));
    assert_eq!(a.claim(p("2001::/16"), 4), Err(Refused::Held(3)));
    assert_eq!(a.lease(Kind::Ipv4, "", "x", 5).unwrap(), p("10.0.0.3/32"));
    assert_eq!(a.lease(Kind::Ipv6, "", "x", 5), Err(Refused::Exhausted));
    // All four blocks were passed; they are there when they are free, whatever the length of what held them.
    a.give_back(p("2001:db8::/60"), 3);
    let four: Vec<_> = std::iter::from_fn(|| a.lease(Kind::Ipv6, "", "x", 5).ok()).collect();
    assert_eq!(four.len(), 4);
    assert_eq!(a.lease(Kind::Ipv6, "other", "x", 5), Err(Refused::Unknown));
}

// A block that a smaller prefix of AAA's was in, and one that AAA's own block was.
#[test]
fn what_aaa_gives_again_and_again_takes_no_room() {
    let mut a = Allocator::new(&pools("10.0.0.0/29", "2001:db8::/63"), &[], None, 100);
    let host = IpPrefix::host("2001:db8::5".parse().unwrap());
    let fixed = IpPrefix::host(Ipv4Addr::new(10, 0, 0, 3).into());
    for _ in 0..1000 {
        assert_eq!((a.claim(host, 1), a.claim(fixed, 1)), (Ok(()), Ok(())));
        let leases: Vec<_> = (0..8).map_while(|i| a.lease(Kind::Ipv4, "", &format!("u{i}"), 2).ok()).collect();
        let links: Vec<_> = std::iter::from_fn(|| a.lease(Kind::Ipv6, "", "x", 2).ok()).collect();
        assert_eq!((leases.len(), links.len()), (5, 1));
        a.give_back(host, 1);
        a.give_back(fixed, 1);
        assert_eq!(a.lease(Kind::Ipv4, "", "z", 3), Ok(fixed));
        a.give_back(fixed, 3);
        leases.into_iter().chain(links).for_each(|p| a.give_back(p, 2));
    }
    assert!(a.pools.iter().all(|p| p.returned.len() + p.passed.len() <= 6));
}

proptest! {
    // Whatever is leased, claimed and given back: no two holders overlap, and a full pool is full.
    #[test]
    fn no_duplicate_ever(steps in proptest::collection::vec((0..4u8, 0..12u32, 0..16u8), 1..200)) {
        let mut a = Allocator::new(&pools("10.0.0.0/28", "2001:db8::/61"), &[], None, 100);
        let mut mine: Vec<(IpPrefix, u32)> = Vec::new();
        for (what, user, n) in steps {
            let name = format!("u{user}");
            let got = match what {
                0 => a.lease(Kind::Ipv4, "", &name, user).ok(),
                1 => a.lease(Kind::Ipv6, "", &name, user).ok(),
                2 => {
                    let p = IpPrefix::new(Ipv4Addr::new(10, 0, 0, n).into(), 32).unwrap();
                    a.claim(p, user).ok().map(|()| p)
                }
                _ => {
                    if !mine.is_empty() {
                        let (p, user) = mine.swap_remove(usize::from(n) % mine.len());
                        a.give_back(p, user);
                    }
                    None
                }
            };
            if let Some(p) = got {
                prop_assert!(mine.iter().all(|(q, _)| !q.contains(p.address()) && !p.contains(q.address())));
                mine.push((p, user));
            }
        }
    }
}

fn v4(text: &str) -> Pools {
    Pools { ipv4: vec![text.parse().expect("v4")], ..Pools::default() }
}

fn host(text: &str) -> IpPrefix {
    IpPrefix::host(text.parse().expect("address"))
}

fn lines(a: &mut Allocator) -> Vec<String> {
    std::iter::from_fn(|| a.poll_line()).collect()
}

/// After a restart, with the lines that were given out.
fn again(lines: &[String], pools: &Pools, subscribers: &[Subscriber], limit: usize) -> Allocator {
    let mut a = Allocator::new(pools, subscribers, None, limit);
    assert_eq!(a.restore(lines.iter().map(String::as_str)), 0);
    a
}

#[test]
fn after_a_restart_everybody_gets_what_was_his() {
    let all = [Kind::Ipv4, Kind::Ipv6, Kind::Delegated];
    let pools = pools("10.0.0.0/28", "2001:db8::/60");
    let lease =
        |a: &mut Allocator, user: &str, holder| all.map(|kind| a.lease(kind, "", user, holder).expect("a block"));
    let mut a = Allocator::new(&pools, &[], None, 100);
    let (first, second) = (lease(&mut a, "first", 1), lease(&mut a, "second one", 2));
    first.iter().for_each(|p| a.give_back(*p, 1));
    let written = lines(&mut a);
    assert_eq!(written[0], "+ 10.0.0.1/32 first");
    assert_eq!(written[8], "- 2001:db8:f000::/56 first");
    // They come in another order, and from a file that is as short as it can be.
    for text in [written, whole(&mut a)] {
        let mut b = again(&text, &pools, &[], 100);
        assert_eq!(lease(&mut b, "second one", 7), second);
        let stranger = b.lease(Kind::Ipv4, "", "stranger", 8).expect("a block");
        assert_eq!(stranger, host("10.0.0.3"), "nobody had it");
        assert_eq!(lease(&mut b, "first", 9), first);
    }
}

// The newest first, from each pool: what a session had comes back together.
#[test]
fn one_with_several_sessions_gets_all_of_his() {
    let pools = pools("10.0.0.0/28", "2001:db8::/60");
    let pair = |a: &mut Allocator, user: &str, holder| {
        [Kind::Ipv4, Kind::Ipv6].map(|kind| a.lease(kind, "", user, holder).expect("a block"))
    };
    let mut a = Allocator::new(&pools, &[], None, 100);
    // By address, the two pairs are in another order in one pool than in the other.
    let reverse = a.lease(Kind::Ipv4, "", "other", 1).expect("a block");
    let one = pair(&mut a, "u", 2);
    a.give_back(reverse, 1);
    a.restore(["- 10.0.0.1/32 u"].into_iter());
    let two = pair(&mut a, "u", 3);
    assert!(two[0] < one[0] && two[1] > one[1], "{one:?} {two:?}");
    for text in [lines(&mut a), whole(&mut a)] {
        let mut b = again(&text, &pools, &[], 100);
        assert_eq!((pair(&mut b, "u", 5), pair(&mut b, "u", 6)), (two, one));
    }
}

// What was held at the end counts more than what was given back after it had been leased.
#[test]
fn what_he_had_last_is_what_he_held_at_the_end() {
    let mut a = Allocator::new(&v4("10.0.0.0/28"), &[], None, 100);
    let old = a.lease(Kind::Ipv4, "", "u", 1).expect("a block");
    let new = a.lease(Kind::Ipv4, "", "u", 2).expect("a block");
    a.give_back(old, 1);
    let mut b = again(&lines(&mut a), &v4("10.0.0.0/28"), &[], 100);
    assert_eq!(b.lease(Kind::Ipv4, "", "u", 3), Ok(new));
}

#[test]
fn so_many_are_remembered_and_the_oldest_is_forgotten_first() {
    let pools = v4("10.0.0.0/16");
    let mut a = Allocator::new(&pools, &[], None, 4);
    let came = |a: &mut Allocator, i: u32| {
        let p = a.lease(Kind::Ipv4, "", &format!("u{i}"), i).expect("a block");
        a.give_back(p, i);
        p
    };
    let had: Vec<_> = (0..8).map(|i| came(&mut a, i)).collect();
    assert_eq!(a.pools[0].returned.len(), 4);
    // Newcomers get what was forgotten before what nobody had, so that no more is ever in use; the last four are kept.
    assert_eq!(had[5..], [had[0], had[1], had[2]]);
    let mut b = again(&lines(&mut a), &pools, &[], 4);
    for mut a in [a, again(&whole(&mut b), &pools, &[], 4), b] {
        for i in (4..8).rev() {
            assert_eq!(a.lease(Kind::Ipv4, "", &format!("u{i}"), i).ok().as_ref(), had.get(i as usize));
        }
        let stranger = a.lease(Kind::Ipv4, "", "u3", 9).expect("a block");
        assert!(!had[4..8].contains(&stranger));
    }
    // A thousand others take no more room than five blocks.
    let mut a = Allocator::new(&pools, &[], None, 4);
    let all: HashSet<_> = (0..1000).map(|i| came(&mut a, i)).collect();
    assert_eq!((all.len(), a.pools[0].forgotten.len()), (5, 1));
    assert_eq!(a.pools[0].returned.iter().count(), 4);
}

#[test]
fn what_was_remembered_gives_way() {
    let text = ["+ 10.0.0.2/32 alice".to_owned(), "+ 10.0.0.3/32 bob".to_owned(), "+ 10.0.0.4/32 carol".to_owned()];
    // An address of the configuration is its owner's.
    let fixed = serde_saphyr::from_str::<Subscriber>("{ user: f, secret: s, ipv4: 10.0.0.2 }").unwrap();
    let mut a = again(&text, &v4("10.0.0.0/29"), &[fixed], 100);
    assert_eq!(a.lease(Kind::Ipv4, "", "alice", 1), Ok(host("10.0.0.1")));
    // By AAA's word, bob's is somebody else's: he gets another, and has it next time.
    assert_eq!(a.claim(host("10.0.0.3"), 2), Ok(()));
    let bobs = a.lease(Kind::Ipv4, "", "bob", 3);
    assert_eq!(bobs, Ok(host("10.0.0.5")));
    a.give_back(host("10.0.0.3"), 2);
    a.give_back(host("10.0.0.5"), 3);
    assert_eq!(a.lease(Kind::Ipv4, "", "bob", 4), bobs);
    // When there is nothing else, a newcomer gets what was another's.
    let newcomers: Vec<_> = std::iter::from_fn(|| a.lease(Kind::Ipv4, "", "n", 5).ok()).collect();
    assert_eq!(newcomers, ["10.0.0.6", "10.0.0.4", "10.0.0.3"].map(host));
}

#[test]
fn what_is_of_other_pools_is_left_out() {
    let text =
        "+ 10.0.0.2/32 a\n+ 10.0.1.0/32 edge\n- 10.0.1.7/32 far\n+ 10.0.1.5/32 b\n+ 2001:db8::/64 b\n+ 10.0.1.4/31 c";
    let mut a = Allocator::new(&v4("10.0.1.0/29"), &[], None, 100);
    assert_eq!(a.restore(text.lines()), 0);
    assert_eq!(whole(&mut a), ["- 10.0.1.5/32 b"]);
    let others: Vec<_> = (1..5).map(|i| a.lease(Kind::Ipv4, "", "n", i).expect("a block")).collect();
    assert_eq!(others, ["10.0.1.1", "10.0.1.2", "10.0.1.3", "10.0.1.4"].map(host));
    assert_eq!(a.lease(Kind::Ipv4, "", "b", 5), Ok(host("10.0.1.5")));
}

#[test]
fn other_pools_forget_what_is_not_theirs_only() {
    let text = ["- 10.0.0.2/32 a".to_owned(), "- 10.0.1.2/32 b".to_owned(), "- 10.0.1.3/32 c".to_owned()];
    let with = |nets: &[&str]| Pools { ipv4: nets.iter().map(|n| n.parse().unwrap()).collect(), ..Pools::default() };
    let mut a = again(&text, &with(&["10.0.0.0/29", "10.0.1.0/29"]), &[], 100);
    a.configure(&with(&["10.0.1.0/28"]), &[], None);
    assert_eq!(whole(&mut a), ["- 10.0.1.2/32 b", "- 10.0.1.3/32 c"]);
    assert_eq!(a.lease(Kind::Ipv4, "", "n", 1), Ok(host("10.0.1.1")));
    assert_eq!(a.lease(Kind::Ipv4, "", "a", 2), Ok(host("10.0.1.4")));
    assert_eq!(a.lease(Kind::Ipv4, "", "c", 3), Ok(host("10.0.1.3")));
}

#[test]
fn lines_that_are_none_are_counted() {
    let text =
        ["", "+", "+ 10.0.0.1/32", "* 10.0.0.1/32 u", "+ 10.0.0.1 u", "+ 10.0.0.9/29 u", "+ 10.0.0.1/33 u", "\u{0}"];
    let mut a = Allocator::new(&v4("10.0.0.0/29"), &[], None, 100);
    assert_eq!(a.restore(text.into_iter()), text.len());
    assert!(whole(&mut a).is_empty());
    // A name may have anything in it but the end of a line.
    for (name, kept) in
        [("a b  c ", "a b  c "), ("\u{fffd}\t\r+", "\u{fffd}\t\r+"), ("x\n+ 10.0.0.6/32 y", ""), ("", "")]
    {
        let mut a = Allocator::new(&v4("10.0.0.0/29"), &[], None, 100);
        let p = a.lease(Kind::Ipv4, "", name, 1).expect("a block");
        assert_eq!(lines(&mut a), [format!("+ {p} {kept}")]);
        let mut b = again(&whole(&mut a), &v4("10.0.0.0/29"), &[], 100);
        assert_eq!(whole(&mut b), [format!("- {p} {kept}")]);
        a.give_back(p, 1);
        assert_eq!(lines(&mut a), [format!("- {p} {kept}")]);
    }
}

// What is in a file that is too long stays so until another one has taken its place.
#[test]
fn lines_go_on_while_the_file_is_too_long() {
    let mut a = Allocator::new(&v4("10.0.0.0/29"), &[], None, 100);
    let mut taken = 0;
    while !a.log.is_stale() {
        let p = a.lease(Kind::Ipv4, "", "u", 1).expect("a block");
        a.give_back(p, 1);
        taken += lines(&mut a).len();
    }
    assert!(taken > 10_000 && taken % 2 == 0);
    a.lease(Kind::Ipv4, "", "u", 1).expect("a block");
    assert_eq!(lines(&mut a), ["+ 10.0.0.1/32 u"]);
    assert_eq!(whole(&mut a), ["+ 10.0.0.1/32 u"]);
    assert!(!a.log.is_stale());
}

// Nobody may be there to take the lines.
#[test]
fn lines_do_not_become_more_and_more() {
    let mut a = Allocator::new(&v4("10.0.0.0/29"), &[], None, 100);
    let mut taken = 0;
    for _ in 0..10_000 {
        let p = a.lease(Kind::Ipv4, "", "u", 1).expect("a block");
        a.give_back(p, 1);
        taken = taken.max(a.log.len());
    }
    assert!((10_000..10_100).contains(&taken));
    assert_eq!(a.poll_line(), None);
    assert_eq!(a.compact().expect("is due").collect::<Vec<_>>(), ["- 10.0.0.1/32 u"]);
    assert!(a.compact().is_none());
}
