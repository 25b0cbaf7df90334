//! Tables.

use crate::fake::Gateway;

#[test]
fn subscribers() {
    let gateway = Gateway::start();
    let expected = "\
ID      User               Listener  IPv4        IPv6                 Delegated               Outer               State        Up       In      Out
4113.7  alice              secure    10.100.0.2  2001:db8:100:1::/64  2001:db8:f000:100::/56  198.51.100.7:61000  open   01:02:03  1.23 MB  2.50 GB
4114.1  (bob@example.net)  secure    -           -                    -                       [2001:db8::7]:1701  lcp    00:00:00      0 B      0 B

2 subscribers
";
    assert_eq!(gateway.out("show subscribers"), expected);
    for (words, asked) in [
        (
            "subscribers --user alice --state open --address 10.100.0.2 --limit 10",
            "subscribers?user=alice&state=open&address=10.100.0.2&limit=10",
        ),
        ("ike --id a@b --address ::1 --pad alice", "ike-sas?id=a%40b&address=%3A%3A1&pad=alice&limit=1000"),
        ("child --peer 7", "child-sas?peer=7&limit=1000"),
    ] {
        gateway.out(&format!("show {words}"));
        assert_eq!(gateway.asked().pop().unwrap(), format!("GET /api/v1/{asked}"));
    }
    let expected = "\
ID                4113.7
User              alice
State             open, up 01:02:03
Listener          secure
Outer address     198.51.100.7:61000
IKE identity      alice@example.net
Authenticated by  RADIUS
L2TP              tunnel 4113 session 7, of the peer 9 and 1
IPv4              10.100.0.2
IPv6 prefix       2001:db8:100:1::/64
Delegated         2001:db8:f000:100::/56
Routes            10.7.0.0/16
MTU               1402
Filter            web
Rate up           20.0 Mbit/s
Rate down         100 Mbit/s
Time left         01:00:00
Accounting        5f1c-1
In                10 packets, 1.00 MB IPv4; 30 packets, 235 kB IPv6
Out               20 packets, 2.50 GB IPv4; 0 packets, 0 B IPv6
";
    assert_eq!(gateway.out("show subscribers 4113.7"), expected);
}

#[test]
fn pages_are_fetched_up_to_the_limit() {
    let gateway = Gateway::start();
    let shown = gateway.out("show subscribers --user many --limit 2000");
    assert_eq!(shown.lines().last(), Some("the first 2000 subscribers; --limit shows more"));
    assert_eq!(
        gateway.asked(),
        ["", "&after=1", "&after=1001"]
            .map(|after| format!("?user=many&limit=1000{after}"))
            .map(|q| format!("GET /api/v1/subscribers{q}"))
    );
    let all: serde_json::Value =
        serde_json::from_str(&gateway.out("show subscribers --user many --limit 9999 --json")).unwrap();
    let items = all["items"].as_array().unwrap();
    assert_eq!((items.len(), &items[2499]["id"], &all["next"]), (2500, &"1.2499".into(), &serde_json::Value::Null));
}

#[test]
fn access() {
    let gateway = Gateway::start();
    for (words, expected) in [
        (
            "show sessions",
            "Tunnel  Session  Peer's  User    MTU  State\n  4113        7       1  alice  1402  open\n\n1 session\n",
        ),
        (
            "show tunnels",
            "Tunnel  Peer's  Outer               IKE identity\n  4113       9  198.51.100.7:61000  alice@example.net\n\n1 tunnel\n",
        ),
        (
            "show ike",
            "Peer  PAD entry  Identity           Local           Remote              State        Ver  NAT  Algorithms                         Up\n   \
             7  alice      alice@example.net  192.0.2.1:4500  198.51.100.7:61000  established  v1   yes  aes256-sha1-modp1024 (weak)  1d01h01m\n\n\
             1 IKE SA\n",
        ),
        (
            "show child",
            "SPI in    SPI out   Peer  Mode       Algorithms       Local                  Remote                    Worker   Packets in  Packets out  Bad        Up\n\
             c0000001  0badcafe     7  transport  aes128gcm16 ESN  192.0.2.1/32[17/1701]  198.51.100.7/32[17/1701]  1 alone          40           41    3  00:00:59\n\n\
             1 child SA\n",
        ),
        (
            "show spd",
            "Rule  Local      Remote  Next layer  Action\nike   192.0.2.1  ANY     UDP/500     BYPASS\nl2tp  192.0.2.1  ANY     UDP/1701    PROTECT\n",
        ),
    ] {
        assert_eq!(gateway.out(words), expected, "{words}");
    }
}

#[test]
fn mesh() {
    let gateway = Gateway::start();
    for (words, expected) in [
        (
            "show softwires",
            "ID  AFBR  Local           Remote          State  BFD  Profile  ESP           MTU       In   Out  Prefixes\n 1  \
             east  2001:db8:f1::1  2001:db8:f2::1  up     up   secret   aes256gcm16  1404  1.23 kB  99 B  10.2.0.0/16, 10.3.0.0/16, \
             10.4.0.0/16, ...\n\n1 softwire\n",
        ),
        (
            "show profiles",
            "Profile  Mode    ESP proposals    Identity  Start     Rekey  Window  TFC  Per worker  Peers\n\
             secret   tunnel  aes256gcm16-esn  west      -      01:00:00    1024  no   yes         east-ike\n",
        ),
        (
            "show bfd",
            "Local           Peer            Path      State          Diagnostic                 Since  Transmit  Detect  Downs  Auth  Used by\n\
             2001:db8:f1::1  2001:db8:f2::1  multihop  down (failed)  detection time expired  00:00:09    250 ms       -      2  yes   bgp, softwire\n",
        ),
    ] {
        assert_eq!(gateway.out(words), expected, "{words}");
    }
}

#[test]
fn bgp() {
    let gateway = Gateway::start();
    let expected = "\
BGP router identifier 1.1.1.1, local AS number 65000

IPv4 Unicast Summary:
Neighbor        V     AS  MsgRcvd  MsgSent   Up/Down  State/PfxRcd  PfxSnt  Desc
2001:db8:f2::1  4  65000      130      131  01:02:03            12       3  east
10.0.0.9        4  65001        0        0     never  Idle (Admin)       0  -

IPv6 Unicast Summary:
Neighbor        V     AS  MsgRcvd  MsgSent   Up/Down  State/PfxRcd  PfxSnt  Desc
2001:db8:f2::1  4  65000      130      131  01:02:03         NoNeg   NoNeg  east

Total number of neighbors 2
";
    assert_eq!(gateway.out("show bgp"), expected);
    assert_eq!(gateway.out("show bgp summary"), expected);
    let expected = "\
BGP neighbor is 2001:db8:f2::1, remote AS 65000, local AS 65000, internal link
  Description       east
  State             Established, up for 01:02:03
  Router ID         2.2.2.2, ours 1.1.1.1
  Hold time         90 s, keepalive 30 s
  Capabilities      extended next hop, extended messages, four-octet AS, route refresh
  Graceful restart  120 s
  Protection        md5, key 1 of chain, at most 1 hop away
  Established       2 times, lost 1
  Last down         01:06:40 ago, hold timer expired

  Messages       Received  Sent
  open                  2     2
  update                8     9
  notification          0     0
  keepalive           120   120
  route_refresh         0     0

  Family  Negotiated  Received  Accepted  Advertised  Limit  Stale
  ipv4    yes               12        11           3   1000  no
  ipv6    no                 0         0           0      -  no
";
    assert_eq!(gateway.out("show bgp neighbours 2001:db8:f2::1"), expected);
    assert_eq!(gateway.out("show bgp neighbors").matches("BGP neighbor is").count(), 2);
    let expected = "\
Status codes:  > best, = multipath, S stale; RPKI: V valid, I invalid, N not found
Origin codes:  i - IGP, e - EGP, ? - incomplete

     Network      Next Hop        Metric  LocPrf  Path           Softwire to
N >  10.1.0.0/16  ::                   -       -  i              -
V >  10.2.0.0/16  2001:db8:f2::1       5     100  65001 65002 i  2001:db8:f2::1, 2001:db8:f3::1
VS=               2001:db8:f3::1       -     100  65001 65003 ?
I                 2001:db8:f4::1       -      50  65009 e

2 prefixes
";
    assert_eq!(gateway.out("show bgp routes"), expected);
    gateway.asked();
    gateway.out("show bgp routes 10.2.0.0/16 --longer --family ipv4 --limit 5");
    let asked = "GET /api/v1/bgp/routes?prefix=10.2.0.0%2F16&match=longer&family=ipv4&limit=5";
    assert_eq!(gateway.asked(), [asked]);
    let expected = "\
Cache  Address        TLS  Pref  State      Serial  IPv4 VRPs  IPv6 VRPs       Age  Last error
one    192.0.2.9:323  no    100  up (used)       3          5          2  00:00:09  -
";
    assert_eq!(gateway.out("show rtr"), expected);
}

#[test]
fn the_gateway_itself() {
    let gateway = Gateway::start();
    let expected = "\
Version    0.1.0
Up         3d04h05m
Workers    2
Sessions   2 open of 3
IKE SAs    3
Child SAs  3

Listener  Address         Protection  Anonymous  IKEv1
secure    192.0.2.1       ipsec       no         yes (sha1, modp1024; shared secret)
open      2001:db8:f1::1  none        yes        no
";
    assert_eq!(gateway.out("show status"), expected);
    let expected = "\
Packets          Total  Worker 0  Worker 1
idle_polls         760       750        10
polls             1010      1000        10
received           105       100         5
received_octets   6720      6400       320
sent                90        90         0
sent_octets       8100      8100         0

Punted to the control plane  Total  Worker 0  Worker 1
ike                              3         3         0

Dropped     Total  Worker 0  Worker 1
esp_replay     11        10         1

Control plane    Total
ike.auth_failed      4

Forwarding tables  Total
routes_v4              7
";
    assert_eq!(gateway.out("show counters"), expected);
    assert!(gateway.out("show counters --all").contains("no_route"));
    let expected = "\
Server  Purpose         Address        Transport  Priority  State  In flight  Requests  Replies  Timeouts
r1      authentication  10.9.0.2:1812  udp               1  alive          3        11        8         2

Subscribers waiting     3
Accounting pending      5
Accounting taken        6
CoA/Disconnect dropped  3
";
    assert_eq!(gateway.out("show radius"), expected);
    let expected = "\
ID        Name     Role   Created               Expires
k3v9w2aq  grafana  read   2026-11-26T10:00:00Z  never
b7c8d9ef  ansible  admin  2026-11-26T10:00:00Z  2027-02-24T10:00:00Z
";
    assert_eq!(gateway.out("show tokens"), expected);
    assert_eq!(gateway.out("token list"), expected);
}

#[test]
fn json_is_the_answer_of_the_api() {
    let gateway = Gateway::start();
    for (words, member) in [("show status", "seconds"), ("show radius", "servers"), ("show subscribers", "items")] {
        let answer: serde_json::Value = serde_json::from_str(&gateway.out(&format!("--json {words}"))).unwrap();
        assert!(!answer[member].is_null(), "{words}");
    }
    let neighbours: serde_json::Value = serde_json::from_str(&gateway.out("show bgp --json")).unwrap();
    assert_eq!(neighbours[1]["stopped"], "disabled");
}

#[test]
fn ports() {
    let gateway = Gateway::start();
    let expected = "\
Port    Link    Zone      MTU  MAC                Received  Sent  Missed  Errors  Addresses
access  up 25G  public   1500  02:00:00:00:00:01      1200  1100       7       6  192.0.2.1/24, 2001:db8:a::1/64
core    down    trusted  9000  02:00:00:00:00:02         0     0       0       0
";
    assert_eq!(gateway.out("show ports"), expected);
}
