//! A gateway that starts again with what pools remembered: everybody has the addresses that were his.

use crate::fabric::Fabric;
use crate::{SECOND, client, complete, yaml};

/// IPv4 address, link prefix and delegated prefix.
fn inner(f: &Fabric, i: usize) -> Vec<String> {
    let session = f.sessions.values().find(|s| s.outer.remote.ip() == f.clients[i].address).unwrap();
    let mut all: Vec<_> = f.routes.iter().filter(|(_, id)| **id == session.id).map(|(p, _)| p.clone()).collect();
    all.sort();
    assert_eq!(all.len(), 3, "{all:?}");
    all
}

/// A gateway after another, and its clients as they come one after the other: their addresses.
fn after(lines: &[String], yaml: &str, order: &[usize]) -> (Fabric, Vec<Vec<String>>) {
    let mut f = Fabric::new(yaml, 0.0);
    f.gateway.restore_leases(lines.iter().map(String::as_str));
    for (i, who) in order.iter().enumerate() {
        f.add(client(*who));
        assert!(f.run(30 * SECOND, |f| complete(f, i)), "{:?} {:?}", f.clients[i].events, f.audit);
    }
    let all = (0..order.len()).map(|i| inner(&f, i)).collect();
    (f, all)
}

#[test]
fn a_restart_keeps_the_addresses() {
    let text = yaml(4, "");
    let (mut f, first) = after(&[], &text, &[0, 1, 2]);
    let lines = |f: &mut Fabric| std::iter::from_fn(|| f.gateway.poll_lease()).collect::<Vec<_>>();
    let killed = lines(&mut f);
    f.gateway.close_all(f.now);
    assert!(f.run(30 * SECOND, |f| f.gateway.is_idle()));
    let ended = [killed.clone(), lines(&mut f)].concat();
    // There is one data plane at a time.
    drop(f);
    // Killed: nothing more is said. A newcomer is the first to come then, and gets nobody's addresses.
    let (_, second) = after(&killed, &text, &[3, 2, 1, 0]);
    assert_eq!(second[1..], [first[2].clone(), first[1].clone(), first[0].clone()]);
    assert!(second[0].iter().all(|p| !first.concat().contains(p)));
    // In order: all have given back what they had.
    let (_, third) = after(&ended, &text, &[1, 3, 0, 2]);
    assert_eq!([&third[0], &third[2], &third[3]], [&first[1], &first[0], &first[2]]);
    // An address that is another's by configuration now is not his any more, nor are those of pools that are gone.
    let address = first[0].iter().find_map(|p| p.strip_suffix("/32")).unwrap();
    let fixed = text.replace("secret: secret-1 }", &format!("secret: secret-1, ipv4: {address} }}"));
    let moved = fixed.replace("2001:db8:f000::/36", "2001:db8:e000::/36");
    let (_, fourth) = after(&ended, &moved, &[0, 1]);
    let kept = |i: usize, j: usize| fourth[i].iter().filter(|p| first[j].contains(p)).count();
    assert_eq!((kept(0, 0), kept(1, 1)), (1, 1));
    assert!(fourth[1].contains(&format!("{address}/32")));
}
