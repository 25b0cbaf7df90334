//! Packet traces through the whole gateway: asked for as the management plane asks, seen by both workers.

use crate::fabric::{Fabric, SERVER};
use crate::{SECOND, address6, client, complete, packet, yaml};
use controlplane::northbound::{Query, TraceInfo, TraceMatch, TraceQuery, TraceRequest};
use std::net::Ipv6Addr;
use tokio::sync::oneshot;

fn ask<T>(f: &mut Fabric, query: impl FnOnce(oneshot::Sender<T>) -> TraceQuery) -> T {
    let (to, mut answer) = oneshot::channel();
    f.gateway.handle_query(f.now, Query::Trace(query(to)));
    f.run(SECOND, |_| false);
    answer.try_recv().unwrap()
}

fn nodes(info: &TraceInfo, n: usize) -> Vec<&'static str> {
    info.packets[n].nodes.iter().map(|n| n.node).collect()
}

#[test]
fn a_trace_of_a_session_shows_both_directions_and_ends_by_itself() {
    let mut f = Fabric::new(&yaml(2, ""), 0.0);
    for i in 0..2 {
        f.add(client(i));
    }
    assert!(f.run(30 * SECOND, |f| complete(f, 0) && complete(f, 1)));
    let (own, other, far) = (address6(&f, 0).unwrap(), address6(&f, 1).unwrap(), SERVER.parse::<Ipv6Addr>().unwrap());
    let id = f.sessions.values().find(|s| s.outer.remote.ip() == f.clients[0].address).unwrap().id;
    let session = id.to_string();
    let filter = TraceMatch { session: Some(session.clone()), protocol: "59".parse().ok(), ..TraceMatch::default() };
    let request = TraceRequest { filter, sample: 1, packets: 2 };
    let trace = ask(&mut f, |to| TraceQuery::Start(request.clone(), to)).unwrap();
    assert!(ask(&mut f, |to| TraceQuery::Start(request, to)).is_err(), "one at a time");

    f.clients[1].initiator.handle_inner(f.now, &packet(other, far, b"of the other one"));
    f.clients[0].initiator.handle_inner(f.now, &packet(own, far, b"up"));
    f.run(SECOND, |_| false);
    f.core_packet(&packet(far, other, b"to the other one"));
    f.core_packet(&packet(far, own, b"down"));
    f.run(SECOND, |_| false);
    let info = ask(&mut f, |to| TraceQuery::One(trace, to)).unwrap();
    assert_eq!((info.summary.state, info.packets.len(), info.summary.lost), ("done", 2, 0), "{info:?}");
    // Whichever worker they came in by: the way is the same but for being handed over.
    let way = |n| nodes(&info, n).into_iter().filter(|n| *n != "hand-off").collect::<Vec<_>>();
    let mut up = way(0);
    up.dedup();
    assert_eq!(up, ["rx", "classify", "esp-in", "decrypted", "l2tp-in", "forward", "tx"]);
    let mut down = way(1);
    down.dedup();
    assert_eq!(down, ["rx", "classify", "forward", "l2tp-out", "esp-out", "output", "tx"]);
    let detail = |n: usize, node| &info.packets[n].nodes.iter().find(|at| at.node == node).unwrap().detail;
    assert_eq!((detail(0, "rx").protocol.as_deref(), detail(0, "rx").port.as_deref()), (Some("esp"), Some("access")));
    assert_eq!(
        (detail(0, "forward").source, detail(0, "forward").session.as_ref()),
        (Some(own.into()), Some(&session))
    );
    assert_eq!((detail(1, "tx").protocol.as_deref(), detail(1, "tx").port.as_deref()), (Some("esp"), Some("access")));

    // Reading what they contain leaves an audit line, as beginning and forgetting do.
    let frames = ask(&mut f, |to| TraceQuery::Frames(trace, to)).unwrap();
    assert!(frames.iter().any(|frame| frame.port.is_none() && frame.octets.ends_with(b"up")));
    assert!(ask(&mut f, |to| TraceQuery::Delete(trace, to)) && !ask(&mut f, |to| TraceQuery::Delete(trace, to)));
    let lines: Vec<_> = f.audit.iter().filter(|r| r.reason.contains("trace")).map(|r| r.reason.as_str()).collect();
    let began = format!("trace 1 of packets: protocol 59, session {session}");
    assert_eq!(lines, [began.as_str(), "packets of trace 1 read", "trace 1 deleted"]);
}

#[test]
fn a_trace_of_nothing_ends_with_its_time() {
    let mut f = Fabric::new(&yaml(1, ""), 0.0);
    let filter = TraceMatch { dropped: true, ..TraceMatch::default() };
    let trace = ask(&mut f, |to| TraceQuery::Start(TraceRequest { filter, ..TraceRequest::default() }, to)).unwrap();
    f.run(controlplane::trace::LIFE - 5 * SECOND, |_| false);
    assert_eq!(ask(&mut f, |to| TraceQuery::One(trace, to)).unwrap().summary.state, "running");
    f.run(5 * SECOND, |_| false);
    let info = ask(&mut f, |to| TraceQuery::One(trace, to)).unwrap();
    assert_eq!((info.summary.state, info.packets.len()), ("done", 0));
}
