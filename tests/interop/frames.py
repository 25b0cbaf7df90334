#!/usr/bin/python3
"""frames.py - raw frames on the access network, for what no honest client sends.

usage: frames.py replay IF SOURCE COUNT            sends the next ESP packet of SOURCE (plain or in UDP 4500) COUNT times more
       frames.py l2tp-clear IF SOURCE GATEWAY MAC KIND [TUNNEL [SESSION]]
                                                   L2TP outside ESP, as if from SOURCE port 1701:
                                                   KIND sccrq (a new tunnel), stopccn (an end to TUNNEL) or data
       frames.py ipip OUTER-SOURCE OUTER-DESTINATION SOURCE DESTINATION
                                                   a UDP datagram in IP in IP, routed by this host, all addresses as given
       frames.py syn SOURCE DESTINATION TTL COUNT  TCP SYNs to port 179, routed by this host
       frames.py payload KIND TUNNEL [SESSION]     prints the L2TP message, to be sent inside a guest's SA
IF is a port of the bridge: a frame sent there goes out to the gateway, which MAC (or the bridge) finds.
"""
import ipaddress
import select
import socket
import struct
import sys
import time


def checksum(data):
    total = sum(struct.unpack(f">{len(data) // 2}H", data)) if len(data) % 2 == 0 else 0
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def avp(kind, value):
    return struct.pack(">HHH", 0x8000 | (6 + len(value)), 0, kind) + value


def l2tp(kind, tunnel=0, session=0):
    """An L2TPv2 message (RFC 2661, section 3.1): control with T, L and S set, or data."""
    if kind == "data":  # PPP: LCP Terminate-Request, which would end the session if it were believed
        return struct.pack(">HHH", 0x0002, tunnel, session) + bytes.fromhex("ff03c0210501000400")[:8]
    if kind == "sccrq":
        avps = (avp(0, struct.pack(">H", 1)) + avp(2, b"\1\0") + avp(3, struct.pack(">I", 3)) + avp(7, b"intruder")
                + avp(9, struct.pack(">H", 77)) + avp(10, struct.pack(">H", 4)))
    elif kind == "stopccn":
        avps = avp(0, struct.pack(">H", 4)) + avp(1, struct.pack(">H", 1)) + avp(9, struct.pack(">H", 77))
    elif kind == "cdn":
        avps = avp(0, struct.pack(">H", 14)) + avp(1, struct.pack(">H", 3)) + avp(14, struct.pack(">H", 77))
    else:
        raise SystemExit(f"unknown kind {kind}")
    return struct.pack(">HHHHHH", 0xC802, 12 + len(avps), tunnel, session, 0, 0) + avps


def udp4(source, destination, payload, port=1701):
    src, dst = (ipaddress.ip_address(a).packed for a in (source, destination))
    udp = struct.pack(">HHHH", port, port, 8 + len(payload), 0) + payload
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0) + src + dst
    return header[:10] + struct.pack(">H", checksum(header)) + header[12:] + udp


def ip_packet(source, destination, protocol, payload, ttl=64):
    src, dst = ipaddress.ip_address(source), ipaddress.ip_address(destination)
    if src.version == 6:
        return struct.pack(">IHBB", 6 << 28, len(payload), protocol, ttl) + src.packed + dst.packed + payload
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0, ttl, protocol, 0) + src.packed + dst.packed
    return header[:10] + struct.pack(">H", checksum(header)) + header[12:] + payload


def ipip(outer_source, outer_destination, source, destination):
    inner = ip_packet(source, destination, 17, struct.pack(">HHHH", 9, 9, 12, 0) + b"fake")
    protocol = 41 if ":" in source else 4
    family = socket.AF_INET6 if ":" in outer_source else socket.AF_INET
    with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW) as s:
        s.sendto(ip_packet(outer_source, outer_destination, protocol, inner), (outer_destination, 0))


def syn(source, destination, ttl, count):
    src, dst = ipaddress.ip_address(source), ipaddress.ip_address(destination)
    family = socket.AF_INET6 if dst.version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW) as s:
        for n in range(count):
            tcp = struct.pack(">HHIIBBHHH", 20000 + n % 40000, 179, n, 0, 0x50, 2, 65535, 0, 0)
            total = checksum(src.packed + dst.packed + struct.pack(">II", len(tcp), 6) + tcp)
            tcp = tcp[:16] + struct.pack(">H", total) + tcp[18:]
            s.sendto(ip_packet(source, destination, 6, tcp, ttl), (destination, 0))


def packet_socket(interface):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    s.bind((interface, 0))
    s.setsockopt(263, 1, struct.pack("IHH8s", socket.if_nametoindex(interface), 1, 0, b""))  # SOL_PACKET: promiscuous
    return s


def is_esp(frame, source):
    """Plain ESP, or UDP 4500 without the non-ESP marker and longer than a keepalive, from that address."""
    if frame[12:14] != b"\x08\x00" or frame[26:30] != source:
        return False
    if frame[23] == 50:
        return True
    payload = frame[14 + (frame[14] & 15) * 4:]
    return frame[23] == 17 and payload[2:4] == struct.pack(">H", 4500) and len(payload) > 16 and payload[8:12] != b"\0\0\0\0"


def main(argv):
    if argv[:1] == ["replay"]:
        s, source, end = packet_socket(argv[1]), ipaddress.ip_address(argv[2]).packed, time.time() + 20
        while time.time() < end:
            if not select.select([s], [], [], 0.5)[0]:
                continue
            frame = s.recv(2048)
            if is_esp(frame, source):
                for _ in range(int(argv[3])):
                    s.send(frame)
                print(f"sent {len(frame)} octets {argv[3]} times")
                return 0
        print("no ESP seen")
        return 1
    if argv[:1] == ["l2tp-clear"]:
        interface, source, gateway, mac, kind = argv[1:6]
        message = l2tp(kind, *map(int, argv[6:]))
        frame = bytes.fromhex(mac.replace(":", "")) + bytes.fromhex("020000000099") + b"\x08\x00" + udp4(source, gateway, message)
        packet_socket(interface).send(frame)
        return 0
    if argv[:1] == ["ipip"] and len(argv) == 5:
        ipip(*argv[1:])
        return 0
    if argv[:1] == ["syn"] and len(argv) == 5:
        syn(argv[1], argv[2], int(argv[3]), int(argv[4]))
        return 0
    if argv[:1] == ["payload"]:
        sys.stdout.buffer.write(b"".join(b"\\x%02x" % octet for octet in l2tp(argv[1], *map(int, argv[2:]))))
        return 0
    print(__doc__)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
