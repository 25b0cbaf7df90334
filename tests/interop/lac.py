#!/usr/bin/python3
"""lac.py - many small softwire initiators in one process: L2TP in the clear, LCP, PAP or CHAP, IPCP, each from an address of its
own. For questions that take many logins; what passes inside is not its business.

usage: lac.py GATEWAY NETWORK USERS PARALLEL [SECONDS [RATE]]    addresses from the first of NETWORK on, which are this host's
USERS: a file of "name password" lines, one session each; PARALLEL at a time are on their way, for
SECONDS (60) at most, and no more than RATE a second begin. Prints, when all have an answer:
  N sessions: A accepted, R rejected, L lost in T s, F a second; the slowest answer took D s
then holds them (echo requests are answered) until SIGTERM, when it takes leave of all, again until the gateway has heard it, for 8 s
at most. Exit status 1 when the sessions it still has by then are fewer than those accepted.
"""
import asyncio
import hashlib
import ipaddress
import os
import signal
import socket
import struct
import sys
import time

LCP, PAP, CHAP, IPCP = 0xC021, 0xC023, 0xC223, 0x8021
REQUEST, ACK, NAK, REJECT, TERMINATE, TERMINATE_ACK, PROTOCOL_REJECT, ECHO, ECHO_REPLY = 1, 2, 3, 4, 5, 6, 8, 9, 10
IP_FREEBIND = 15


def avp(kind, value):
    return struct.pack(">HHH", 0x8000 | (6 + len(value)), 0, kind) + value


class Session(asyncio.DatagramProtocol):
    """One tunnel with its session. `answer` becomes "accepted", "rejected" or "lost"."""

    def __init__(self, user, password):
        self.user, self.password = user.encode(), password.encode()
        self.answer = asyncio.get_running_loop().create_future()
        self.tunnel = self.session = self.ns = self.nr = 0
        self.unacknowledged, self.identifier, self.authenticator = [], 0, None
        self.lcp, self.asked, self.up, self.address = set(), None, False, bytes(4)

    # L2TP (RFC 2661): control messages are numbered, and sent again until acknowledged

    def control(self, kind, *avps):
        message = (self.ns, self.session if kind in (12,) else 0, avp(0, struct.pack(">H", kind)) + b"".join(avps))
        self.ns += 1
        self.unacknowledged.append(message)
        self.send_control(*message)

    def send_control(self, ns, session, body=b""):
        self.transport.sendto(struct.pack(">HHHHHH", 0xC802, 12 + len(body), self.tunnel, session, ns, self.nr) + body)

    def connection_made(self, transport):
        self.transport = transport
        one = struct.pack(">H", 1)
        self.control(1, avp(2, b"\1\0"), avp(3, struct.pack(">I", 3)), avp(7, self.user), avp(9, one), avp(10, struct.pack(">H", 4)))
        self.timer = asyncio.get_running_loop().call_later(0.25, self.again)

    def again(self):
        for message in self.unacknowledged:
            self.send_control(*message)
        if self.session and not self.up:
            self.ask()
        self.timer = asyncio.get_running_loop().call_later(5 if self.up else 0.5, self.again)

    def datagram_received(self, data, _):
        flags, at = struct.unpack(">H", data[:2])[0], 2
        at += 2 if flags & 0x4000 else 0
        at += 4 + (4 if flags & 0x0800 else 0)
        if not flags & 0x8000:
            return self.ppp(data[at:])
        ns, nr = struct.unpack(">HH", data[at - 4 : at])
        self.unacknowledged = [m for m in self.unacknowledged if m[0] >= nr]
        avps = {}
        while at + 6 <= len(data):
            length, _, kind = struct.unpack(">HHH", data[at : at + 6])
            avps[kind] = data[at + 6 : at + (length & 0x3FF)]
            at += max(length & 0x3FF, 6)
        if not avps:
            return
        if ns == self.nr:
            self.nr += 1
            self.message(struct.unpack(">H", avps[0])[0], avps)
        self.send_control(self.ns, 0)

    def message(self, kind, avps):
        if kind == 2:  # SCCRP
            self.tunnel = struct.unpack(">H", avps[9])[0]
            self.control(3)
            self.control(10, avp(14, struct.pack(">H", 1)), avp(15, struct.pack(">I", 1)))
        elif kind == 11:  # ICRP
            self.session = struct.unpack(">H", avps[14])[0]
            self.control(12, avp(24, struct.pack(">I", 10**9)), avp(19, struct.pack(">I", 1)))
            self.ask()
        elif kind in (4, 14):  # StopCCN, CDN
            self.over("lost")

    # PPP (RFC 1661, 1334, 1994, 1332)

    def send(self, protocol, code, identifier, body=b""):
        frame = struct.pack(">HHBBH", 0xFF03, protocol, code, identifier, 4 + len(body)) + body
        self.transport.sendto(struct.pack(">HHH", 2, self.tunnel, self.session) + frame)

    def ask(self):
        """Whatever we want next, also again."""
        self.identifier = (self.identifier + 1) % 256
        if len(self.lcp) < 2:
            self.send(LCP, REQUEST, self.identifier)
        elif not self.answer.done():
            if self.authenticator == PAP:
                secrets = [bytes([len(x)]) + x for x in (self.user, self.password)]
                self.asked = self.asked or time.monotonic()
                self.send(PAP, REQUEST, 1, b"".join(secrets))
        else:
            self.send(IPCP, REQUEST, self.identifier, b"\3\6" + self.address)

    def ppp(self, frame):
        if frame[:2] == b"\xff\3":
            frame = frame[2:]
        if len(frame) < 6:
            return
        protocol, code, identifier, length = struct.unpack(">HBBH", frame[:6])
        body = frame[6 : 2 + length]
        if protocol == LCP:
            self.control_protocol(code, identifier, body)
        elif protocol == IPCP and code == REQUEST:
            self.send(IPCP, ACK, identifier, body)
        elif protocol == IPCP and code == NAK:
            self.address = body[2:6]
            self.ask()
        elif protocol == IPCP and code == ACK:
            self.up = True
        elif protocol == CHAP and code == 1:
            challenge = body[1 : 1 + body[0]]
            self.asked = self.asked or time.monotonic()
            self.send(CHAP, 2, identifier, b"\x10" + hashlib.md5(bytes([identifier]) + self.password + challenge).digest() + self.user)
        elif protocol == PAP and code == 2 or protocol == CHAP and code == 3:
            self.over("accepted")
            self.ask()
        elif protocol == PAP and code == 3 or protocol == CHAP and code == 4:
            self.over("rejected")
        elif protocol not in (IPCP, PAP, CHAP):
            self.identifier = (self.identifier + 1) % 256
            self.send(LCP, PROTOCOL_REJECT, self.identifier, frame)

    def control_protocol(self, code, identifier, body):
        before = len(self.lcp)
        if code == REQUEST:
            at = 0
            while at + 2 <= len(body) and body[at + 1] >= 2:
                if body[at] == 3:
                    self.authenticator = struct.unpack(">H", body[at + 2 : at + 4])[0]
                at += body[at + 1]
            self.send(LCP, ACK, identifier, body)
            self.lcp.add("theirs")
        elif code == ACK:
            self.lcp.add("ours")
        elif code == ECHO:
            self.send(LCP, ECHO_REPLY, identifier, bytes(4) + body[4:])
        elif code == TERMINATE:
            self.send(LCP, TERMINATE_ACK, identifier)
            self.over("lost")
        if before < 2 and len(self.lcp) == 2:
            self.ask()

    def over(self, how):
        if how != "accepted":
            self.up = False
            self.timer.cancel()
        if not self.answer.done():
            self.took = time.monotonic() - (self.asked or time.monotonic())
            self.answer.set_result(how)


async def main(gateway, network, users, parallel, seconds=60, rate=None):
    loop, slots, sessions = asyncio.get_running_loop(), asyncio.Semaphore(int(parallel)), []
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    addresses = ipaddress.ip_network(network).hosts()

    async def login(number, user, password, address):
        await asyncio.sleep(number / float(rate) if rate else 0)
        async with slots:
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.setsockopt(socket.SOL_IP, IP_FREEBIND, 1)
            s.bind((str(address), 1701))
            s.setblocking(False)
            await loop.sock_connect(s, (gateway, 1701))
            _, session = await loop.create_datagram_endpoint(lambda: Session(user, password), sock=s)
            sessions.append(session)
            try:
                await asyncio.wait_for(asyncio.shield(session.answer), float(seconds))
            except asyncio.TimeoutError:
                session.over("lost")

    began = time.monotonic()
    lines = [line.split() for line in open(users)]
    await asyncio.gather(*(login(n, *line, next(addresses)) for n, line in enumerate(lines)))
    took = time.monotonic() - began
    count = {how: sum(s.answer.result() == how for s in sessions) for how in ("accepted", "rejected", "lost")}
    print(f"{len(sessions)} sessions: {count['accepted']} accepted, {count['rejected']} rejected, {count['lost']} lost in {took:.2f} s,"
          f" {len(sessions) / took:.0f} a second; the slowest answer took {max(s.took for s in sessions):.2f} s", flush=True)
    await stop.wait()
    held = sum(s.up for s in sessions)
    print(f"{held} held", flush=True)
    for s in sessions:
        s.control(4, avp(1, struct.pack(">H", 1)), avp(9, struct.pack(">H", 1)))
    for _ in range(16):
        await asyncio.sleep(0.5)
        for s in (deaf := [s for s in sessions if s.up and s.unacknowledged]):
            for message in s.unacknowledged:
                s.send_control(*message)
        if not deaf:
            break
    os._exit(held < count["accepted"])


if __name__ == "__main__":
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    asyncio.run(main(*sys.argv[1:]))
