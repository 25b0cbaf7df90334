"""What the made-up gateway answers: one function per resource, shapes as in controlplane's `northbound`."""
import functools
import math

ATTACK = '<img src=x onerror="window.attacked=1">'
SUBSCRIBERS = 100_000
LOOK = 20_000
REASONS = {"esp_replay": 40, "inner_source": 310, "no_route": 95, "rate_down": 1250, "session_unknown": 22, "ttl_exceeded": 8, "filtered": 130, "consumed": 900}
STATES = ["open"] * 96 + ["network", "authorizing", "lcp", "closing"]


@functools.cache
def subscribers():
    rows = []
    for i in range(SUBSCRIBERS):
        name = {0: "alice", 1: ATTACK, 2: None}.get(i, f"user{i:06}@example.net")
        outer = f"198.51.{i // 256 % 256}.{i % 256}:{4500 + i % 7}" if i % 3 else f"[2001:db8:{i // 65536:x}:{i % 65536:x}::7]:4500"
        rows.append({
            "id": f"{1 + i // 50000}.{i % 65000}", "user": name, "ike_id": None if i % 11 == 5 else f"{name or 'guest'}",
            "listener": "old" if i % 11 == 5 else "secure", "state": STATES[i % 100] if i > 2 else "open", "outer": outer,
            "tunnel": 1 + i // 50000, "session": i % 65000, "peer_tunnel": 7 + i % 900, "peer_session": 1 + i % 900, "mtu": 1382,
            "ipv4": f"10.{100 + i // 65536}.{i // 256 % 256}.{i % 256}", "ipv6_prefix": f"2001:db8:100:{i % 65536:x}::/64",
            "delegated": f"2001:db8:f0{i // 65536:02x}:{i % 65536:x}00::/56", "ipv6_address": None,
            "routes": ["192.168.7.0/24", "2001:db8:77::/48"] if i % 9 == 0 else [], "acct_session_id": f"{0x5a000000 + i:08X}",
            "radius": i % 2 == 0, "filter": "residential" if i % 4 == 0 else None, "rate_up": 50_000 if i % 4 == 0 else None,
            "rate_down": 250_000 if i % 4 == 0 else None, "seconds_left": 7200 if i % 5 == 0 else None, "seconds": 400 + i * 7 % 400_000,
        })
    return rows


def subscriber(s, now):
    pace = 1 + s["session"] % 9
    grown = {"in_v4_packets": 900, "in_v4_octets": 240_000, "out_v4_packets": 1100, "out_v4_octets": 1_150_000,
             "in_v6_packets": 2300, "in_v6_octets": 610_000, "out_v6_packets": 2900, "out_v6_octets": 3_900_000}
    return {**s, "seconds": s["seconds"] + int(now), "counters": {name: int(each * pace * (400 + now + 3 * math.sin(now / 5))) for name, each in grown.items()}}


def page(rows, asked, full=lambda row: row, has=lambda row: True):
    """As many rows as are asked for, of those that a filter leaves, and at most of the LOOK that are looked at."""
    first, limit = int(asked["after"], 16) + 1 if "after" in asked else 0, min(int(asked.get("limit", 100)), 1000)
    found, at = [], first
    while at < len(rows) and len(found) < limit and at < first + LOOK:
        found += [full(rows[at])] if has(rows[at]) else []
        at += 1
    return {"items": found, "next": f"{at - 1:016x}" if at < len(rows) else None, "total": len(rows)}


def counters(world):
    now = world.now()
    wave = now + 3 * math.sin(now / 7) + 0.6 * math.sin(now / 1.7)
    workers = []
    for share in (1.0, 0.72, 0.31):
        polls = int(2_000_000 * now) + 1
        worker = {
            "received": int(1_450_000 * share * (600 + wave)), "received_octets": int(9.1e8 * share * (600 + wave)), "injected": int(900 * now),
            "generated": int(3 * now), "handed_in": 0, "handed_out": 0, "joined": 0, "sent": int(1_440_000 * share * (600 + wave)),
            "sent_octets": int(8.4e8 * share * (600 + now + 4 * math.sin(now / 9))), "polls": polls, "idle_polls": int(polls * (1 - 0.86 * share)),
            "ops_refused": 0, "ops_applied": 41_000,
        }
        worker |= {f"punt.{name}": int(rate * now) for name, rate in {"ike": 210, "l2tp": 95, "ppp": 160, "neighbour": 4, "bgp": 31, "host": 12, "bfd": 40, "session_host": 0}.items()}
        worker |= {f"drop.{name}": int(rate * share * (3000 + now + 3 * math.sin(now / (3 + len(name))))) for name, rate in REASONS.items()}
        workers.append(worker | {"drop.sa_missing": 0, "drop.truncated": 3})
    control = {"ike.auth_failed": 12, "ike.child_refused": 0, "l2tp.binding": 3, "aaa.auth_rejected": 44}
    return {"workers": workers, "control": control, "fib": {"routes_v4": 951_204, "routes_v6": 221_004, "refused_v4": 0, "refused_v6": 0 if world.calm else 17, "blocks_v4": 40_112, "blocks_v6": 9000}}


def status(world):
    old = {"weak": ["sha1", "modp1024"], "sha256_96": True, "shared_secret": True}
    listeners = [{"name": "secure", "address": "192.0.2.1", "protection": "ipsec", "anonymous": False, "ikev1": None}]
    if not world.calm:
        listeners += [{"name": "old", "address": "2001:db8::1", "protection": "ipsec", "anonymous": False, "ikev1": old},
                      {"name": "guest", "address": "192.0.2.9", "protection": "none", "anonymous": True, "ikev1": None}]
    total = 0 if world.empty else len(world.subscribers)
    return {"version": "0.1.0", "seconds": 86_400 * 12 + int(world.now()), "workers": 3, "ike_sas": total, "child_sas": total, "sessions": total + 31,
            "open_sessions": total, "listeners": [] if world.empty else listeners}


def ike_sas(world, asked):
    def row(i):
        old = i % 11 == 5
        return {"peer": i + 1, "pad": "old" if old else "subscribers", "spi_i": f"{i * 7919 + 0xa1:016x}", "spi_r": f"{i * 104729 + 0xb2:016x}",
                "state": "rekeying" if i % 40 == 39 else "established", "local_id": "gw.example.net", "remote_id": {0: "alice", 1: ATTACK}.get(i, f"user{i:06}@example.net"),
                "local": "192.0.2.1:4500", "remote": f"198.51.{i // 256}.{i % 256}:{4500 + i % 7}", "version": 1 if old else 2,
                "algorithms": "aes256-sha1-modp1024" if old else "aes256gcm16-prfsha384-ecp384", "weak": ["sha1", "modp1024"] if old else [],
                "shared_secret": old, "natt": i % 3 == 0, "seconds": 60 + i * 13 % 90_000}
    rows = [row(i) for i in range(0 if world.empty else world.many)]
    return page(rows, asked, has=lambda r: asked.get("id", r["remote_id"]) == r["remote_id"] and asked.get("address", "") in r["remote"])


def child_sas(world, asked):
    def row(i):
        return {"peer": i + 1, "spi_in": f"{0xc0000000 + i * 257:08x}", "spi_out": f"{0x10000000 + i * 65537:08x}", "mode": "transport",
                "algorithms": "aes128-sha1" if i % 11 == 5 else "aes256gcm16", "weak": ["sha1"] if i % 11 == 5 else [], "esn": i % 11 != 5, "encap": i % 3 == 0,
                "local_ts": "192.0.2.1/32[17/1701]", "remote_ts": f"198.51.{i // 256}.{i % 256}/32[17/*]", "selected": i % 25 != 24, "worker": i % 4, "bound": i % 25 == 23,
                "peer_resource": f"{i % 4:08x}" if i % 25 == 23 else None, "seconds": 30 + i * 17 % 3600,
                "in_packets": 91_000 + i, "in_octets": 71_000_000 + i * 1000, "out_packets": 130_000, "out_octets": 158_000_000 + i, "replayed": 3 if i % 19 == 4 else 0,
                "integrity_failures": 1 if i % 19 == 4 else 0}
    rows = [row(i) for i in range(0 if world.empty else world.many)]
    return page(rows, asked, has=lambda r: asked.get("peer", str(r["peer"])) == str(r["peer"]))


AFBRS = [("east", 1.4e9), ("south", 4.2e8), ("west-edge", 9e7), ("oslo", 2.2e8), ("lyon", 6e8), ("porto", 3.1e6), ("gdansk", 8.8e8), (None, 1.2e4)]


def softwires(world):
    rows = []
    for i, (name, rate) in enumerate([] if world.empty else AFBRS):
        wires = [("secret", "aes256gcm16-esn"), ("bulk", "aes128gmac")] if name in ("east", "lyon") else [("secret", "aes256gcm16-esn")]
        for profile, esp in wires:
            down, clear = name == "porto" and not world.calm, name == "oslo" and not world.calm
            grown = rate / 8 * (3000 + world.now() + 3 * math.sin(world.now() / (4 + i)))
            rows.append({
                "id": len(rows) + 1, "name": name, "local": "2001:db8:f1::1", "remote": f"2001:db8:f{i + 2}::1", "state": "down" if down else "up",
                "bfd": "down" if down else "up" if i % 2 == 0 else None, "peer": None if clear else f"{name or 'learned'}-ike", "profile": None if clear else profile,
                "esp": None if down or clear else esp, "mtu": 1382, "path_mtu": 1500, "too_big": "inner", "strict": i % 2 == 0, "tfc": False,
                "prefixes": [f"10.{i + 2}.{n}.0/24" for n in range(1 + 3 * (i % 4))], "in_packets": int(grown / 700), "in_octets": 0 if down else int(grown * 0.8),
                "out_packets": int(grown / 800), "out_octets": 0 if down else int(grown)})
    return page(rows, {"limit": 1000})


def bfd(world):
    one = {"local": "2001:db8:f1::1", "multihop": True, "neighbour": True, "softwire": True, "state": "up", "diagnostic": "none", "remote_state": "up",
           "remote_diagnostic": "none", "failed": False, "seconds": 86_000, "transmit_interval_ms": 250, "detection_time_ms": 750, "detect_multiplier": 3,
           "authenticated": True, "packets_in": 360_000, "packets_out": 361_000, "ups": 3, "downs": 2}
    down = {**one, "remote": "2001:db8:f7::1", "state": "down", "diagnostic": "control detection time expired", "failed": True, "seconds": 312, "transmit_interval_ms": 1000, "detection_time_ms": None}
    return [] if world.empty else [{**one, "remote": "2001:db8:f2::1"}] + ([] if world.calm else [down])


def neighbours(world):
    messages = {"open": 1, "update": 12_411, "notification": 0, "keepalive": 9022, "route_refresh": 1}
    def family(name, up, n):
        return {"family": name, "negotiated": up, "received": n, "accepted": n - n // 50, "advertised": 1204 if up else 0, "stale": False, "max_prefix": 1_000_000}
    def one(address, description, asn, up, n4, n6, **more):
        agreed = {"hold_time": 90, "keepalive": 30, "extended_next_hop": True, "extended_messages": True, "four_octet_as": True, "route_refresh": True, "enhanced_route_refresh": True,
                  "role": "customer" if asn != 65000 else None, "graceful_restart": {"restart_time": 120, "restarting": False, "notification": True, "families": {"ipv4": True, "ipv6": True}}}
        protection = {"method": "tcp_ao", "key_chain": "core", "key_id": 4, "ttl_security": 1, "warnings": [], "refused": None}
        return {"address": address, "description": description, "asn": asn, "local_asn": 65000, "local": "2001:db8:f1::1", "router_id": "192.0.2.77" if up else None, "local_router_id": "192.0.2.1",
                "client": False, "state": "Established" if up else "Active", "stopped": None, "seconds": 712_004 if up else None, "established": 3, "flaps": 2, "messages_in": 21_400, "messages_out": 19_822,
                "received": messages, "sent": messages, "negotiated": agreed if up else None, "families": [family("ipv4", up, n4), family("ipv6", up, n6)], "import": "customers", "export": "all",
                "last_down": "hold timer expired", "last_down_seconds": 712_090, "protection": protection | more.pop("protection", {}), **more}
    weak = {"method": "md5", "key_chain": "old", "key_id": 1, "ttl_security": None, "warnings": ["key 1 is shorter than 12 octets"]}
    rows = [one("2001:db8:f1::ff", "route reflector", 65000, True, 951_000, 221_000), one("192.0.2.200", "customer of <b>Oslo</b>", 64_999, True, 12, 4, protection={} if world.calm else weak)]
    rows += [] if world.calm else [one("2001:db8:f7::1", "porto", 65000, False, 0, 0), one("2001:db8:f8::1", None, 65000, False, 0, 0, stopped="disabled")]
    return [] if world.empty else rows


def caches(world):
    return [] if world.empty else [{"name": "rpki-1", "address": "192.0.2.50:3323", "tls": True, "preference": 1, "state": "up", "used": True, "session": 7, "serial": 4411, "ipv4": 412_020, "ipv6": 140_101,
            "synchronized": 310, "seconds": 140, "refresh": 900, "retry": 600, "expire": 7200, "last_error": None}]


def path(neighbour, best, i, **more):
    return {"neighbour": neighbour, "best": best, "loses_by": None if best else "AS_PATH length", "stale": False, "rov": "valid" if i % 3 else "not_found", "next_hop": f"2001:db8:f{2 + i % 6}::1", "link_local": None,
            "origin": "igp", "as_path": "65010 65020" if best else "65010 65044 65020", "local_pref": 100, "med": None, "atomic_aggregate": False, "aggregator": None, "communities": ["65000:100"], "large_communities": [],
            "extended_communities": ["color:7"] if i % 5 == 0 else [], "colors": [], "tunnels": [], "originator_id": None, "cluster_list": [], "only_to_customer": None, "unknown": [], **more}


def routes(world, asked):
    first = int(asked.get("after", "10.0.0.0/24").split(".")[1]) + (1 if "after" in asked else 0)
    last = 0 if world.empty else min(200, world.many)
    prefix = asked.get("prefix")
    if prefix:
        first, last = (int(prefix.split(".")[1]), int(prefix.split(".")[1]) + 1) if re_v4(prefix) else (0, 0)
    rows = []
    for i in range(first, min(first + int(asked.get("limit", 100)), last)):
        paths = [path("2001:db8:f1::ff", True, i), path("192.0.2.200", False, i)] if i % 4 == 0 else [path("2001:db8:f1::ff", True, i)]
        rows.append({"prefix": f"10.{i}.0.0/24", "next_hop": f"2001:db8:f{2 + i % 6}::1", "egresses": [f"2001:db8:f{2 + i % 6}::1"], "paths": paths})
    return {"routes": rows, "next": rows[-1]["prefix"] if rows and first + len(rows) < last else None}


def re_v4(text):
    return text.count(".") == 3 and text.startswith("10.")


def of_neighbour(world, asked, way):
    rows = routes(world, asked)
    def row(r):
        p = {k: v for k, v in r["paths"][0].items() if k not in ("neighbour", "loses_by")}
        return {"prefix": r["prefix"], **p, **({"verdict": "accepted", "imported": None} if way == "in" else {})}
    return {**rows, "routes": [row(r) for r in rows["routes"]]}


def radius(world):
    def server(name, purpose, address, alive, **sent):
        return {"name": name, "purpose": purpose, "address": address, "transport": "tls" if name == "far" else "udp", "priority": 1 if name == "near" else 2, "alive": alive, "in_flight": 3 if alive else 0, "links": 1,
                "counters": {"requests": 81_204, "replies": 81_100, "timeouts": 104, "forged": 0, **sent}}
    dead = world.calm
    rows = [server("near", "authentication", "192.0.2.60:1812", True), server("near", "accounting", "192.0.2.60:1813", True), server("far", "authentication", "[2001:db8:60::1]:2083", dead, timeouts=2210)]
    return {"servers": [] if world.empty else rows, "waiting": 3, "records_pending": 17, "records_taken": 912_201, "dynamic_discards": {"replayed": 2, "unknown_client": 0}}


def commits(world, asked):
    change = [
        {"path": "/subscribers/alice/secret", "op": "replace", "from": "***", "to": "***"},
        {"path": "/bgp/neighbours/2001:db8:f7::1", "op": "add", "to": {"address": "2001:db8:f7::1", "asn": 65000, "description": "porto"}},
        {"path": "/listeners/guest/anonymous", "op": "remove", "from": True},
    ]
    rows = []
    for i in range(0 if world.empty else 47, 0, -1):
        state = "pending" if i == 47 and not world.calm else "reverted" if i == 45 else "confirmed"
        rows.append({"id": i, "at": f"2026-11-{1 + i % 25:02}T09:{i:02}:11Z", "author": "local:root" if i % 3 else "ansible", "comment": [None, "new AFBR in Porto", ATTACK][i % 3], "state": state, "confirm_by": "2026-11-23T09:57:11Z" if state == "pending" else None, "changes": change[: 1 + i % 3]})
    after = int(asked.get("after", 48))
    rows = [r for r in rows if r["id"] < after]
    limit = int(asked.get("limit", 20))
    return {"commits": rows[:limit], "next": rows[limit - 1]["id"] if len(rows) > limit else None}


def answer(world, parts, asked):
    """The answer to a GET, or None."""
    match parts:
        case ["status"]: return status(world)
        case ["counters"]: return counters(world)
        case ["ike-sas"]: return ike_sas(world, asked)
        case ["child-sas"]: return child_sas(world, asked)
        case ["softwires"]: return softwires(world)
        case ["bfd"]: return bfd(world)
        case ["bgp", "neighbours"]: return neighbours(world)
        case ["bgp", "rtr"]: return caches(world)
        case ["bgp", "routes"]: return routes(world, asked)
        case ["bgp", "neighbours", _, "routes", ("in" | "out") as way]: return of_neighbour(world, asked, way)
        case ["radius"]: return radius(world)
        case ["config", "commits"]: return commits(world, asked)
        case ["drain"]: return {"state": "off" if world.calm else "draining", "mode": None if world.calm else "refuse", "sessions_left": 0 if world.empty else len(world.subscribers), "peers_left": 12, "refused": 3}
    return None
