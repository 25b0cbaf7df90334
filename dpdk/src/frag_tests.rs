use super::*;
use crate::mbuf::LinearizeError;
use crate::mempool::Mempool;
use crate::sim;

const LIFETIME: u64 = 1_000;

fn setup(name: &str) -> (Mempool, Reassembler) {
    let pool = sim::test_pool(name, 127).expect("pool");
    (pool, Reassembler::new(16, LIFETIME, None).expect("table"))
}

/// An Ethernet frame with a fragment of `payload[range]`, padded as Ethernet does.
fn frame4(id: u16, offset: usize, more: bool, part: &[u8]) -> Vec<u8> {
    let mut f = vec![0xee; 14];
    f.extend([0x45, 0]);
    f.extend((20 + part.len() as u16).to_be_bytes());
    f.extend(id.to_be_bytes());
    f.extend(((offset / 8) as u16 | u16::from(more) << 13).to_be_bytes());
    f.extend([64, 17, 0, 0, 192, 0, 2, 1, 198, 51, 100, 2]);
    f.extend(part);
    f.resize(f.len().max(60), 0);
    f
}

fn frame6(id: u32, offset: usize, more: bool, part: &[u8]) -> Vec<u8> {
    let mut f = vec![0xee; 14];
    f.extend([0x60, 0, 0, 0]);
    f.extend((8 + part.len() as u16).to_be_bytes());
    f.extend([44, 64]);
    f.extend([0x20; 16]);
    f.extend([0x30; 16]);
    f.extend([17, 0]);
    f.extend((offset as u16 | u16::from(more)).to_be_bytes());
    f.extend(id.to_be_bytes());
    f.extend(part);
    f
}

fn payload(n: usize) -> Vec<u8> {
    (0..n).map(|i| i as u8).collect()
}

fn complete(r: Reassembly) -> Mbuf {
    match r {
        Reassembly::Complete(m) => m,
        other => unreachable!("{other:?}"),
    }
}

fn pending(r: Reassembly) {
    assert!(matches!(r, Reassembly::Pending), "{r:?}");
}

fn octets(m: &Mbuf) -> Vec<u8> {
    m.segments().flatten().copied().collect()
}

#[test]
fn ipv4_fragments_in_any_order_make_the_datagram() {
    let (pool, mut table) = setup("fr4");
    let data = payload(2000);
    let parts = [(0, 800), (800, 1600), (1600, 2000)];
    for (id, order) in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]].into_iter().enumerate() {
        let mut last = Reassembly::Pending;
        for i in order {
            pending(last);
            let (from, to) = parts[i];
            let frame = frame4(id as u16, from, to < 2000, &data[from..to]);
            last = table.process_v4(pool.alloc_with(&frame).expect("mbuf"), 14, 5);
        }
        let mut whole = complete(last);
        assert_eq!((whole.pkt_len(), whole.segment_count()), (14 + 20 + 2000, 3));
        let all = octets(&whole);
        assert_eq!(&all[..14], [0xee; 14]);
        assert_eq!(all[16..18], 2020u16.to_be_bytes(), "total length");
        assert_eq!(all[20..22], [0, 0], "neither offset nor MF");
        let sum: u32 = all[14..34].chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "header checksum");
        assert_eq!(all[34..], data);
        // 2048 octets of data room: the chain fits into one buffer, though not into its first
        whole.linearize(&pool).expect("linearized");
        assert!(whole.is_contiguous());
        assert_eq!(whole.data(), all);
    }
    assert_eq!((table.take_discarded(), pool.in_use()), (0, 0));
}

#[test]
fn a_short_chain_is_gathered_in_its_first_segment() {
    let (pool, mut table) = setup("fr-gather");
    let big = Mempool::new("fr-gather-2", 7, 0, 100, None).expect("pool");
    let data = payload(400);
    pending(table.process_v4(pool.alloc_with(&frame4(1, 0, true, &data[..200])).expect("mbuf"), 14, 5));
    let mut whole =
        complete(table.process_v4(pool.alloc_with(&frame4(1, 200, false, &data[200..])).expect("m"), 14, 5));
    let all = octets(&whole);
    whole.linearize(&big).expect("no other buffer is needed");
    assert_eq!((whole.segment_count(), whole.pkt_len(), whole.data()), (1, all.len(), &all[..]));
    assert_eq!((pool.in_use(), big.in_use()), (1, 0));

    let data = payload(2400);
    pending(table.process_v4(pool.alloc_with(&frame4(2, 0, true, &data[..1200])).expect("mbuf"), 14, 5));
    let mut whole =
        complete(table.process_v4(pool.alloc_with(&frame4(2, 1200, false, &data[1200..])).expect("m"), 14, 5));
    let all = octets(&whole);
    assert_eq!(whole.linearize(&pool), Err(LinearizeError::TooLong));
    assert_eq!(octets(&whole), all, "as it was");
}

#[test]
fn ipv6_fragments_make_the_datagram_without_the_header() {
    let (pool, mut table) = setup("fr6");
    let data = payload(1500);
    pending(table.process_v6(pool.alloc_with(&frame6(9, 1200, false, &data[1200..])).expect("mbuf"), 14, 5));
    let whole = complete(table.process_v6(pool.alloc_with(&frame6(9, 0, true, &data[..1200])).expect("mbuf"), 14, 5));
    let all = octets(&whole);
    assert_eq!(&all[..14], [0xee; 14]);
    assert_eq!((all[14], all[20]), (0x60, 17));
    assert_eq!(all[18..20], 1500u16.to_be_bytes());
    assert_eq!(all[54..], data);
    drop(whole);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn an_atomic_fragment_is_a_datagram() {
    let (pool, mut table) = setup("fr6-atomic");
    pending(table.process_v6(pool.alloc_with(&frame6(9, 0, true, &[1; 80])).expect("mbuf"), 14, 5));
    let whole = complete(table.process_v6(pool.alloc_with(&frame6(9, 0, false, &[2; 80])).expect("mbuf"), 14, 5));
    assert_eq!((whole.len(), whole.data()[20], &whole.data()[54..]), (14 + 40 + 80, 17, &[2; 80][..]));
    assert_eq!(whole.data()[18..20], 80u16.to_be_bytes());
}

#[test]
fn packets_that_are_no_fragments_pass() {
    let (pool, mut table) = setup("fr-none");
    let frame = frame4(1, 0, false, b"x");
    assert_eq!(complete(table.process_v4(pool.alloc_with(&frame).expect("mbuf"), 14, 5)).data(), frame);
    let mut frame = frame6(1, 0, false, b"x");
    frame[20] = 17;
    assert_eq!(complete(table.process_v6(pool.alloc_with(&frame).expect("mbuf"), 14, 5)).data(), frame);
}

#[test]
fn late_fragments_are_discarded_and_counted() {
    let (pool, mut table) = setup("fr-late");
    pending(table.process_v4(pool.alloc_with(&frame4(1, 0, true, &[1; 80])).expect("mbuf"), 14, 100));
    pending(table.process_v6(pool.alloc_with(&frame6(1, 0, true, &[1; 80])).expect("mbuf"), 14, 600));
    table.expire(100 + LIFETIME);
    assert_eq!((table.take_discarded(), pool.in_use()), (0, 2));
    table.expire(101 + LIFETIME);
    assert_eq!((table.take_discarded(), pool.in_use()), (1, 1));
    table.expire(601 + LIFETIME);
    assert_eq!((table.take_discarded(), pool.in_use()), (1, 0));
    pending(table.process_v4(pool.alloc_with(&frame4(1, 80, false, &[1; 80])).expect("mbuf"), 14, 2000));
    drop(table);
    assert_eq!(pool.in_use(), 0, "what waits is freed with the table");
}

#[test]
fn overlaps_and_floods_never_complete() {
    let (pool, mut table) = setup("fr-bad");
    // 0..80, 40..120 (overlap), 120..160 last
    for (from, to, more) in [(0, 80, true), (40, 120, true), (120, 160, false)] {
        let frame = frame4(1, from, more, &vec![0; to - from]);
        pending(table.process_v4(pool.alloc_with(&frame).expect("mbuf"), 14, 5));
    }
    assert_eq!((table.take_discarded(), pool.in_use()), (3, 0));
    // more fragments than a datagram may have
    for i in 0..MAX_FRAGMENTS {
        pending(table.process_v4(pool.alloc_with(&frame4(2, i * 8, true, &[0; 8])).expect("mbuf"), 14, 5));
    }
    table.expire(u64::MAX);
    assert_eq!((table.take_discarded(), pool.in_use()), (MAX_FRAGMENTS as u64, 0));
    // more datagrams than the table has places: the oldest or the newest goes, none leaks
    for id in 0..100 {
        pending(table.process_v4(pool.alloc_with(&frame4(id, 0, true, &[0; 8])).expect("mbuf"), 14, 5));
    }
    assert_eq!(table.take_discarded() + u64::from(pool.in_use()), 100);
}

#[test]
fn lengths_that_lie_are_refused() {
    let (pool, mut table) = setup("fr-lies");
    let bad4: [fn(&mut Vec<u8>); 7] = [
        |f| f[14] = 0x44,                                        // header too short
        |f| f[14] = 0x4f,                                        // header longer than the datagram
        |f| f[14] = 0x65,                                        // not version 4
        |f| f[16..18].copy_from_slice(&200u16.to_be_bytes()),    // longer than the frame
        |f| f[16..18].copy_from_slice(&20u16.to_be_bytes()),     // nothing in it
        |f| f[16..18].copy_from_slice(&27u16.to_be_bytes()),     // 7 octets and more to come
        |f| f[20..22].copy_from_slice(&0x3fffu16.to_be_bytes()), // beyond 65535
    ];
    for (i, spoil) in bad4.iter().enumerate() {
        let mut frame = frame4(1, 8, true, &[0; 40]);
        spoil(&mut frame);
        let r = table.process_v4(pool.alloc_with(&frame).expect("mbuf"), 14, 5);
        assert!(matches!(r, Reassembly::Malformed(_)), "{i}: {r:?}");
    }
    for n in 0..frame4(1, 8, true, &[0; 40]).len() {
        let r = table.process_v4(pool.alloc_with(&frame4(1, 8, true, &[0; 40])[..n]).expect("mbuf"), 14, 5);
        assert!(matches!(r, Reassembly::Malformed(_)), "{n}");
    }
    for n in 0..frame6(1, 8, true, &[0; 40]).len() {
        let r = table.process_v6(pool.alloc_with(&frame6(1, 8, true, &[0; 40])[..n]).expect("mbuf"), 14, 5);
        assert!(matches!(r, Reassembly::Malformed(_)), "{n}");
    }
    let refused = [
        table.process_v6(pool.alloc_with(&frame6(1, 65528, false, &[0; 40])).expect("mbuf"), 14, 5),
        table.process_v4(pool.alloc_with(&[0x45; 300]).expect("mbuf"), 280, 5),
        table.process_v6(pool.alloc_with(&[0x60; 30]).expect("mbuf"), usize::MAX, 5),
    ];
    for r in refused {
        assert!(matches!(r, Reassembly::Malformed(_)), "{r:?}");
    }
    assert_eq!(pool.in_use(), 0);
}
