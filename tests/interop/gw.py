#!/usr/bin/python3
"""gw.py - asks a running softwired over REST; the only place of the tests that knows its paths.

usage: gw.py wait 'EXPRESSION' [SECONDS]   until it is true (20 s)
       gw.py check 'EXPRESSION'            must be true now
       gw.py value 'EXPRESSION'            prints it
       gw.py when 'EXPRESSION' [SECONDS]   looks every 10 ms; prints the milliseconds since the epoch when it was true
       gw.py disconnect ID | rekey-child SPI | rekey-ike PEER | rekey-softwire ID
       gw.py bgp ADDRESS clear|soft-in|soft-out|disable|enable [JSON]
       gw.py show                          a report for people
In expressions: st (status), subs, ike, child, spd, sw (softwires), bgp (neighbours), bfd (sessions), rtr (caches), profiles (lists), radius,
rib (what BGP has learned and is forwarded by), loc (the Loc-RIB), rib_in(ADDRESS), rib_out(ADDRESS), c (all workers' and the control plane's counters summed by
name, 0 where absent), metrics (text), user(NAME) (the subscriber's record, or {}), server(NAME, PURPOSE) (RADIUS; authentication where absent).
API=SOCKET, or the URL of something that speaks for the gateway.
"""
import collections
import http.client
import json
import os
import re
import socket
import sys
import time
import urllib.parse

API = os.environ.get("API", "/run/softwire-gateway/api.sock")
V1 = "/api/v1"


class Socket(http.client.HTTPConnection):
    """HTTP over the unix socket API."""

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(API)


def connection():
    url = urllib.parse.urlsplit(API)
    if not url.scheme:
        return Socket("localhost", timeout=5)
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    return kind(url.netloc, timeout=5)


def request(path, method="GET", body=None):
    asked = connection()
    try:
        asked.request(method, path, body and body.encode(), {"content-type": "application/json"} if body else {})
        answer = asked.getresponse()
        text = answer.read().decode()
        if answer.status >= 400:
            raise OSError(f"{method} {path}: {answer.status} {text}")
        return text
    finally:
        asked.close()


def pages(path):
    """All rows of what comes in pages."""
    rows, after = [], ""
    while True:
        page = json.loads(request(f"{V1}{path}?limit=1000{after}"))
        rows += page["routes" if "routes" in page else "items"]
        if not page["next"]:
            return rows
        after = "&after=" + page["next"]


class Gateway(dict):
    """Names of an expression, fetched when first used."""

    LISTS = {"subs": "/subscribers", "ike": "/ike-sas", "child": "/child-sas", "sw": "/softwires", "loc": "/bgp/routes"}
    PATHS = {"st": "/status", "spd": "/spd", "bgp": "/bgp/neighbours", "bfd": "/bfd", "rtr": "/bgp/rtr", "profiles": "/mesh/profiles", "radius": "/radius"}
    TABLES = {"in": "/bgp/neighbours/{}/routes/in", "out": "/bgp/neighbours/{}/routes/out"}
    NAMES = (*PATHS, *LISTS, "rib", "rib_in", "rib_out", "c", "metrics", "user", "server")

    def __missing__(self, name):
        if name in self.PATHS:
            self[name] = json.loads(request(V1 + self.PATHS[name]))
        elif name in self.LISTS:
            self[name] = pages(self.LISTS[name])
        elif name == "rib":
            self[name] = [r for r in self["loc"] if r["next_hop"]]
        elif name in ("rib_in", "rib_out"):
            self[name] = lambda address: pages(self.TABLES[name[4:]].format(address))
        elif name == "c":
            total = collections.Counter()
            counters = json.loads(request(V1 + "/counters"))
            for part in counters["workers"] + [counters["control"]]:
                total.update(part)
            self[name] = total
        elif name == "metrics":
            self[name] = request("/metrics")
        elif name == "server":
            rows = {(s["name"], s["purpose"]): s for s in self["radius"]["servers"]}
            self[name] = lambda server, purpose="authentication": rows[server, purpose]
        elif name == "user":
            self[name] = lambda user: next((s for s in self["subs"] if s["user"] == user), {})
        else:
            raise KeyError(name)
        return self[name]


def evaluate(expression):
    gateway = Gateway()
    words = set(re.findall(r"\w+", expression))
    names = {name: gateway[name] for name in Gateway.NAMES if name in words}
    return eval(expression, names)


def show():
    gateway = Gateway()
    for sa in gateway["ike"]:
        print(f"IKE SA    {sa['local_id']} <-> {sa['remote_id']}  {sa['local']} <-> {sa['remote']}"
              f"  {sa['algorithms']}{'  NAT traversal' if sa['natt'] else ''}")
    for sa in gateway["child"]:
        print(f"child SA  {sa['mode']}  in {sa['spi_in']} out {sa['spi_out']}  {sa['algorithms']}{' ESN' if sa['esn'] else ''}"
              f"  {sa['local_ts']} <-> {sa['remote_ts']}  {sa['in_packets']} packets in, {sa['out_packets']} out")
    for s in gateway["subs"]:
        print(f"softwire  {s['user']}: {s['state']}, tunnel/session {s['tunnel']}/{s['session']}, the peer's"
              f" {s['peer_tunnel']}/{s['peer_session']}, mtu {s['mtu']}, IPv6 {s['ipv6_prefix']}, delegated {s['delegated']},"
              f" IPv4 {s['ipv4']}")
    for s in gateway["sw"]:
        print(f"softwire  {s['name'] or ''} {s['local']} <-> {s['remote']}: {s['state']}, {s['esp'] or 'in the clear'}, mtu {s['mtu']},"
              f" {', '.join(s['prefixes'])}; {s['in_packets']} packets in, {s['out_packets']} out")
    drops = {name[5:]: n for name, n in sorted(gateway["c"].items()) if name.startswith("drop.") and n}
    print("drops     " + (", ".join(f"{name} {n}" for name, n in drops.items()) or "none"))


def main(argv):
    command = argv[0] if argv else ""
    if command in ("wait", "check", "value") and len(argv) > 1:
        end = time.time() + (float(argv[2]) if len(argv) > 2 else 20 if command == "wait" else 0)
        while True:
            try:
                result = evaluate(argv[1])
            except (OSError, http.client.HTTPException, LookupError, ValueError) as problem:
                result, error = None, problem
            else:
                error = None
            if command == "value" and error is None:
                print(result)
                return 0
            if command != "value" and result:
                return 0
            if time.time() >= end:
                break
            time.sleep(0.2)
        print(f"not true: {argv[1]} ({error or result})")
        if error is None:
            names = Gateway()
            for name in ("subs", "ike", "child", "c"):
                print(name, json.dumps({k: v for k, v in names[name].items() if v} if name == "c" else names[name])[:2000])
        return 1
    if command == "when":
        end = time.time() + float(argv[2])
        while time.time() < end:
            if evaluate(argv[1]):
                print(int(time.time() * 1000))
                return 0
            time.sleep(0.01)
        return 1
    if command == "disconnect":
        request(f"{V1}/subscribers/{argv[1]}", "DELETE")
    elif command == "rekey-child":
        request(f"{V1}/child-sas/{argv[1]}/rekey", "POST")
    elif command == "rekey-ike":
        request(f"{V1}/ike-sas/{argv[1]}/rekey", "POST")
    elif command == "rekey-softwire":
        request(f"{V1}/softwires/{argv[1]}/rekey", "POST")
    elif command == "bgp" and len(argv) > 2:
        request(f"{V1}/bgp/neighbours/{argv[1]}/{argv[2]}", "POST", argv[3] if len(argv) > 3 else None)
    elif command == "show":
        show()
    else:
        print(__doc__)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
