use super::*;
use crate::northbound::TraceProtocol;
use dataplane_api::{DropReason, SessionId, TraceNode, WorkerId};

const SECOND: Duration = Duration::from_secs(1);

struct Lab {
    traces: Traces,
    start: Instant,
    ports: Vec<String>,
}

impl Lab {
    fn new() -> Self {
        let ports = vec!["access".to_owned(), "core".to_owned()];
        Self { traces: Traces::default(), start: Instant::now(), ports }
    }

    fn names(&self) -> Names<'_> {
        Names { ports: &self.ports, clock: (self.start, Duration::from_secs(1_000_000_000)), lost: 7 }
    }

    fn begin(&mut self, filter: TraceMatch, packets: usize) -> Result<TraceSpec, TraceRefused> {
        let names = Names { ports: &self.ports, clock: (self.start, Duration::ZERO), lost: 5 };
        self.traces.start(self.start, TraceRequest { filter, sample: 1, packets }, names)
    }

    fn packet(&self, trace: u32, id: u32) -> TracePacket {
        let mut p = TracePacket::new();
        (p.trace, p.id, p.at) = (trace, id, self.start + SECOND);
        (p.headers, p.session) = (true, true);
        p.visit(TraceNode::Rx, (None, None, None), &FRAME);
        p
    }

    fn captured(&self) -> Vec<(u32, usize)> {
        self.traces.summaries(self.names()).iter().map(|s| (s.id, s.captured)).collect()
    }
}

/// UDP from 192.0.2.9:1701 to 192.0.2.1:1701 in an Ethernet frame, cut.
const FRAME: [u8; 42] = [
    2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 8, 0, 0x45, 0, 1, 0, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 9, 192, 0, 2, 1, 6,
    0xa5, 6, 0xa5, 0, 236, 0, 0,
];

fn sent(mut p: TracePacket) -> TracePacket {
    p.visit(TraceNode::Tx, (None, None, None), &FRAME);
    p.finish(TraceEnd::Sent(PortId(1)));
    p
}

#[test]
fn parts_of_a_packet_are_joined_by_its_number() {
    let mut lab = Lab::new();
    let spec = lab.begin(TraceMatch::default(), 10).unwrap();
    let (mut first, mut second) = (lab.packet(spec.trace, 1), lab.packet(spec.trace, 1));
    first.session = false;
    first.finish(TraceEnd::HandedOff(WorkerId(1)));
    (second.headers, second.continued, second.worker) = (false, true, WorkerId(1));
    second.clear();
    second.visit(TraceNode::Forward, (None, None, None), &FRAME[14..]);
    let mut second = sent(second);
    // Workers are read one after the other: either part may come first.
    assert!(!lab.traces.input(&second, 0));
    assert_eq!(lab.captured(), [(1, 0)]);
    assert!(!lab.traces.input(&first, 0));
    assert_eq!(lab.captured(), [(1, 1)]);
    (first.id, second.id) = (3, 3);
    assert!(!lab.traces.input(&first, 0));
    assert_eq!(lab.captured(), [(1, 1)]);
    assert!(!lab.traces.input(&second, 0));
    assert_eq!(lab.captured(), [(1, 2)]);
    let info = lab.traces.info(1, lab.names()).unwrap();
    let nodes: Vec<_> = info.packets[0].nodes.iter().map(|n| n.node).collect();
    assert_eq!(nodes, ["rx", "hand-off", "forward", "tx"]);
    assert_eq!(lab.traces.info(1, lab.names()).unwrap().packets[1].nodes.len(), 4);
    assert_eq!((info.packets[0].worker, info.packets[0].verdict.as_str()), (0, "sent"));
    assert_eq!(info.packets[0].nodes[1].detail.worker, Some(1));
    // Of one that goes on unseen, nothing is said; nor of one that nowhere shows what is asked for.
    (first.id, first.headers) = (2, false);
    lab.traces.input(&first, 0);
    let mut unseen = second.clone();
    unseen.id = 2;
    lab.traces.input(&unseen, 0);
    assert_eq!(lab.captured(), [(1, 2)]);
}

#[test]
fn a_trace_is_done_when_it_has_its_packets() {
    let mut lab = Lab::new();
    let spec = lab.begin(TraceMatch::default(), 2).unwrap();
    assert_eq!(lab.begin(TraceMatch::default(), 2), Err(TraceRefused::Running(1)));
    assert!(!lab.traces.input(&sent(lab.packet(spec.trace + 1, 1)), 9));
    assert!(!lab.traces.input(&sent(lab.packet(spec.trace, 1)), 9));
    assert_eq!(lab.traces.summaries(lab.names())[0].state, "running");
    assert_eq!(lab.traces.summaries(lab.names())[0].lost, 2);
    assert!(lab.traces.input(&sent(lab.packet(spec.trace, 2)), 9));
    assert!(!lab.traces.input(&sent(lab.packet(spec.trace, 3)), 9));
    let summary = &lab.traces.summaries(lab.names())[0];
    assert_eq!((summary.state, summary.captured, summary.lost), ("done", 2, 4));
    assert_eq!(lab.traces.poll_timeout(), None);
    // Those that are done are kept, a few.
    for _ in 0..KEPT {
        lab.begin(TraceMatch::default(), 2).unwrap();
        assert_eq!(lab.traces.poll_timeout(), Some(lab.start + LIFE));
        lab.traces.finish(0);
    }
    assert_eq!(lab.captured(), [(2, 0), (3, 0), (4, 0), (5, 0)]);
    assert_eq!((lab.traces.delete(1), lab.traces.delete(3)), (None, Some(false)));
    lab.begin(TraceMatch::default(), 2).unwrap();
    assert_eq!(lab.traces.delete(6), Some(true));
    assert_eq!(lab.captured(), [(2, 0), (4, 0), (5, 0)]);
}

#[test]
fn a_packet_whose_other_part_does_not_come_is_lost() {
    let mut lab = Lab::new();
    let spec = lab.begin(TraceMatch::default(), 1).unwrap();
    for id in 0..WAITING as u32 + 3 {
        let mut part = lab.packet(spec.trace, id);
        part.finish(TraceEnd::HandedOff(WorkerId(1)));
        lab.traces.input(&part, 7);
    }
    // Besides the two of the workers.
    assert_eq!(lab.traces.summaries(lab.names())[0].lost, 5);
    assert!(lab.traces.input(&sent(lab.packet(spec.trace, u32::MAX)), 7));
    assert_eq!(lab.traces.summaries(lab.names())[0].lost, 5);
}

#[test]
fn requests_that_make_no_sense_say_where() {
    let mut lab = Lab::new();
    let any = TraceMatch::default;
    let net = |s: &str| Some(s.parse().unwrap());
    for (filter, sample, packets, want) in [
        (TraceMatch { port_name: Some("nowhere".into()), ..any() }, 1, 1, "/filter/port_name"),
        (any(), 1_000_001, 1, "/sample"),
        (TraceMatch { session: Some("7".into()), ..any() }, 1, 1, "/filter/session"),
        (TraceMatch { session: Some("7.70000".into()), ..any() }, 1, 1, "/filter/session"),
        (TraceMatch { source: net("::/0"), destination: net("0.0.0.0/0"), ..any() }, 1, 1, "/filter/destination"),
        (any(), 0, 1, "/sample"),
        (any(), 1, 0, "/packets"),
        (any(), 1, MOST + 1, "/packets"),
    ] {
        let names = Names { ports: &lab.ports, clock: (lab.start, Duration::ZERO), lost: 0 };
        let refused = lab.traces.start(lab.start, TraceRequest { filter, sample, packets }, names);
        assert!(matches!(&refused, Err(TraceRefused::Invalid { path, .. }) if *path == want), "{want}: {refused:?}");
    }
    let filter = TraceMatch {
        source: net("2001:db8::/32"),
        protocol: Some(TraceProtocol(17)),
        port: Some(53),
        session: Some("4660.22136".into()),
        port_name: Some("core".into()),
        dropped: true,
        ..any()
    };
    assert_eq!(
        filter.to_string(),
        "dropped packets: source 2001:db8::/32, protocol udp, port 53, session 4660.22136, from core"
    );
    let spec = lab.begin(filter, MOST).unwrap().filter;
    assert_eq!((spec.ingress, spec.session), (Some(PortId(1)), Some(SessionId(0x1234_5678))));
    assert_eq!(
        (spec.source.map(|p| p.len()), spec.protocol, spec.port, spec.dropped),
        (Some(32), Some(17), Some(53), true)
    );
}

fn read(key: &str, value: &str) -> Result<TraceMatch, String> {
    serde_saphyr::from_str(&format!("{key}: \"{value}\"")).map_err(|e| e.to_string())
}

#[test]
fn addresses_are_prefixes_and_protocols_have_names() {
    assert_eq!(read("source", "192.0.2.9").map(|m| m.source.map(|n| n.to_string())), Ok(Some("192.0.2.9/32".into())));
    assert_eq!(read("destination", "2001:db8::9/32").map(|m| m.destination), Ok("2001:db8::/32".parse().ok()));
    for (text, number) in [("udp", 17), ("esp", 50), ("132", 132)] {
        assert_eq!(read("protocol", text).map(|m| m.protocol), Ok(Some(TraceProtocol(number))));
    }
    assert!(read("protocol", "sctq").unwrap_err().contains("\"sctq\" is no protocol"));
    assert!(read("source", "192.0.2").unwrap_err().contains("neither a prefix nor an address"));
    assert!(read("sauce", "x").unwrap_err().contains("unknown field"));
}

#[test]
fn what_is_told_without_contents() {
    let mut lab = Lab::new();
    let spec = lab.begin(TraceMatch::default(), 9).unwrap();
    let mut p = lab.packet(spec.trace, 1);
    let (peer, id) = (dataplane_api::PeerId(5.try_into().unwrap()), SessionId::from_wire(10, 20));
    let secret = [&FRAME[14..], b"secret of the subscriber"].concat();
    p.visit(TraceNode::Decrypted, (Some(peer), Some(dataplane_api::Spi(0x1100_0002)), Some(id)), &secret);
    p.finish(TraceEnd::Dropped(DropReason::SessionAddress));
    lab.traces.input(&p, 0);
    let info = lab.traces.info(1, lab.names()).unwrap();
    let packet = &info.packets[0];
    assert_eq!((packet.at.as_str(), packet.port.as_str()), ("2001-09-09T01:46:41.000000Z", "access"));
    assert_eq!(packet.verdict, "dropped session_address");
    let [rx, decrypted, end] = &packet.nodes[..] else { panic!("{packet:?}") };
    assert_eq!((rx.detail.port.as_deref(), rx.detail.length), (Some("access"), Some(42)));
    assert_eq!((decrypted.node, decrypted.detail.source), ("decrypted", "192.0.2.9".parse().ok()));
    assert_eq!((decrypted.detail.protocol.as_deref(), decrypted.detail.destination_port), (Some("udp"), Some(1701)));
    assert_eq!((decrypted.detail.peer, decrypted.detail.spi.as_deref()), (Some(5), Some("11000002")));
    assert_eq!(decrypted.detail.session.as_deref(), Some("10.20"));
    assert_eq!((end.node, end.detail.reason, end.detail.length), ("drop", Some("session_address"), None));
    assert!(!format!("{info:?}").contains("secret"));
    // With contents.
    let frames = lab.traces.frames(1, lab.names()).unwrap();
    assert_eq!(frames.iter().map(|f| f.port.as_deref()).collect::<Vec<_>>(), [Some("access"), None]);
    assert_eq!((&frames[0].octets[..], &frames[1].octets), (&FRAME[..], &secret));
    assert_eq!(frames[1].comment, "packet 1 at decrypted; rx decrypted drop; dropped session_address");
    assert!(lab.traces.frames(2, lab.names()).is_none());
}

#[test]
fn fragments_and_other_protocols_have_no_ports() {
    let mut lab = Lab::new();
    let spec = lab.begin(TraceMatch::default(), 9).unwrap();
    let mut p = lab.packet(spec.trace, 1);
    let mut fragment = FRAME[14..].to_vec();
    fragment[7] = 5;
    p.visit(TraceNode::Classify, (None, None, None), &fragment);
    let mut six = [0; 56];
    (six[0], six[6], six[40]) = (0x60, 44, 17);
    p.visit(TraceNode::Forward, (None, None, None), &six);
    six[43] = 8;
    p.visit(TraceNode::Forward, (None, None, None), &six);
    p.visit(TraceNode::Forward, (None, None, None), &six[..20]);
    p.finish(TraceEnd::Joined);
    lab.traces.input(&p, 0);
    let info = lab.traces.info(1, lab.names()).unwrap();
    let seen: Vec<_> =
        info.packets[0].nodes.iter().map(|n| (n.detail.protocol.as_deref(), n.detail.source_port)).collect();
    assert_eq!(
        seen,
        [
            (Some("udp"), Some(1701)),
            (Some("udp"), None),
            (Some("udp"), Some(0)),
            (Some("udp"), None),
            (None, None),
            (None, None)
        ]
    );
}
