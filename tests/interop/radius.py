#!/usr/bin/python3
"""radius.py - reads what FreeRADIUS wrote down, and says in RADIUS what radclient would not.

usage: radius.py records FILE 'EXPRESSION' [SECONDS]   until it is true of the records (a "detail" file)
       radius.py coa SERVER SECRET [OPTION...] ATTRIBUTE=VALUE...   a CoA-Request; prints the answer's code and attributes
           --disconnect   a Disconnect-Request     --age N   Event-Timestamp N seconds ago   --bare   no Message-Authenticator
           --twice        the same octets again, from the same port: the answers must be the same     --from ADDRESS
       radius.py forge SERVER SECRET SECONDS COUNT   in SERVER's namespace: sees requests to its port 1812 and sends COUNT rounds of
           false Access-Accepts for each: garbage, unknown identifier, wrong authenticator, no or wrong Message-Authenticator
       radius.py proxy PORT SERVER SECRET tunnel|msk|mschap|none   forwards; flips a bit of what TLS protects, of the keys in the
           Accept, or of the digits in MS-CHAP2-Success
Records: r (all, each a dict of its first values; numbers are numbers), of(TYPE) those with that Acct-Status-Type, Counter.
"""
import collections
import hashlib
import hmac
import os
import socket
import struct
import sys
import time

ACCESS_REQUEST, ACCEPT, COA, DISCONNECT = 1, 2, 43, 40
USER_NAME, FRAMED_IP_ADDRESS, SESSION_TIMEOUT, VENDOR, IDLE_TIMEOUT = 1, 8, 27, 26, 28
NAS_IDENTIFIER, PROXY_STATE, ACCT_SESSION_ID, EVENT_TIMESTAMP, EAP_MESSAGE, MESSAGE_AUTHENTICATOR, ERROR_CAUSE = 32, 33, 44, 55, 79, 80, 101
TEXT = {"User-Name": USER_NAME, "NAS-Identifier": NAS_IDENTIFIER, "Proxy-State": PROXY_STATE, "Acct-Session-Id": ACCT_SESSION_ID}
NUMBER = {"Session-Timeout": SESSION_TIMEOUT, "Idle-Timeout": IDLE_TIMEOUT}


def records(path):
    found, record = [], None
    for line in open(path, errors="replace") if os.path.exists(path) else []:
        if not line.strip():
            record = None
        elif not line[0].isspace():
            record = {}
            found.append(record)
        elif record is not None:
            name, _, value = line.strip().partition(" = ")
            record.setdefault(name.split(":")[0], int(value) if value.isdigit() else value.strip('"'))
    return found


def wait_records(path, expression, seconds):
    end = time.time() + seconds
    while True:
        r = records(path)
        names = {
            "r": r,
            "of": lambda kind: [x for x in r if x.get("Acct-Status-Type") == kind],
            "Counter": collections.Counter,
        }
        try:
            if eval(expression, names):
                return 0
            why = "false"
        except (LookupError, TypeError) as problem:
            why = problem
        if time.time() >= end:
            print(f"not true: {expression} ({why})")
            for x in r[-8:]:
                print({k: v for k, v in x.items() if k in expression or k in ("User-Name", "Acct-Status-Type", "Acct-Session-Id")})
            return 1
        time.sleep(0.2)


def attribute(kind, value):
    return struct.pack("BB", kind, len(value) + 2) + value


def attributes(packet):
    """(offset, kind, value) of each."""
    at = 20
    while at + 2 <= len(packet) and packet[at + 1] >= 2:
        yield at, packet[at], packet[at + 2 : at + packet[at + 1]]
        at += packet[at + 1]


def authenticate(packet, authenticator, secret):
    """The packet with its Message-Authenticator, if it has one, made right for that Request Authenticator."""
    packet = bytearray(packet)
    packet[4:20] = authenticator
    for at, kind, _ in list(attributes(packet)):
        if kind == MESSAGE_AUTHENTICATOR:
            packet[at + 2 : at + 18] = bytes(16)
            packet[at + 2 : at + 18] = hmac.digest(secret, bytes(packet), "md5")
    return packet


def signed(packet, authenticator, secret):
    """A reply, or a request whose authenticator is a digest (then 16 zeroes are given)."""
    packet = authenticate(packet, authenticator, secret)
    packet[4:20] = hashlib.md5(bytes(packet) + secret).digest()
    return bytes(packet)


def dynamic(server, secret, words):
    options, body = {"age": 0, "from": ""}, b""
    words = iter(words)
    for word in words:
        name, _, value = word.partition("=")
        if word in ("--age", "--from"):
            options[word[2:]] = next(words)
        elif word.startswith("--"):
            options[word[2:]] = True
        elif name in NUMBER:
            body += attribute(NUMBER[name], struct.pack(">I", int(value)))
        elif name == "Framed-IP-Address":
            body += attribute(FRAMED_IP_ADDRESS, socket.inet_aton(value))
        else:
            body += attribute(TEXT[name], value.encode())
    body += attribute(EVENT_TIMESTAMP, struct.pack(">I", int(time.time()) - int(options["age"])))
    if "bare" not in options:
        body += attribute(MESSAGE_AUTHENTICATOR, bytes(16))
    code = DISCONNECT if "disconnect" in options else COA
    packet = signed(struct.pack(">BBH", code, os.urandom(1)[0], 20 + len(body)) + bytes(16) + body, bytes(16), secret)
    host, _, port = server.rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(2)
        s.bind((options["from"], 0))
        s.connect((host, int(port)))
        answers = []
        for _ in range(2 if "twice" in options else 1):
            s.send(packet)
            try:
                answers.append(s.recv(4096))
            except OSError:
                print("no answer")
                return 1
    answer = answers[0]
    assert all(a == answer for a in answers), "the answers differ"
    assert signed(answer, packet[4:20], secret) == answer, "the answer's authenticator is wrong"
    print({41: "Disconnect-ACK", 42: "Disconnect-NAK", 44: "CoA-ACK", 45: "CoA-NAK"}.get(answer[0], answer[0]))
    for _, kind, value in attributes(answer):
        if kind == ERROR_CAUSE:
            print("Error-Cause", struct.unpack(">I", value)[0])
        elif kind == PROXY_STATE:
            print("Proxy-State", value.decode(errors="replace"))
    return 0


def forge(server, secret, seconds, count):
    # a raw socket sees what comes for the server, and sends with the server's port
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as s:
        s.bind((server, 0))
        s.settimeout(0.2)
        end, sent, seen = time.time() + seconds, 0, 0
        while time.time() < end:
            try:
                datagram, (source, _) = s.recvfrom(65536)
            except OSError:
                continue
            udp = datagram[(datagram[0] & 15) * 4 :]
            source_port, port = struct.unpack(">HH", udp[:4])
            request = udp[8:]
            if port != 1812 or request[0] != ACCESS_REQUEST:
                continue
            seen += 1
            for _ in range(count):
                for reply in forgeries(request, secret):
                    head = struct.pack(">HHHH", 1812, source_port, 8 + len(reply), 0)
                    s.sendto(head + reply, (source, 0))
                    sent += 1
    print(f"{sent} false replies to {seen} requests")
    return 0 if seen else 1


def forgeries(request, secret):
    def accept(identifier, body=b""):
        return struct.pack(">BBH", ACCEPT, identifier, 20 + len(body)) + bytes(16) + body

    mine, signature = request[1], attribute(MESSAGE_AUTHENTICATOR, bytes(16))
    right = signed(accept(mine, signature), request[4:20], secret)
    yield os.urandom(50)
    yield accept((mine + 128) % 256, signature)
    yield accept(mine, signature)
    yield signed(accept(mine, signature), request[4:20], b"another secret")
    # who breaks MD5 (CVE-2024-3596) has a good Response Authenticator, but no Message-Authenticator
    yield signed(accept(mine), request[4:20], secret)
    body = bytearray(right)
    body[-1] ^= 1
    body[4:20] = request[4:20]
    yield bytes(body[:4]) + hashlib.md5(bytes(body) + secret).digest() + bytes(body[20:])
    yield right[:30]


def flip_tunnel(packet):
    """A bit of the last octet of EAP-Message, if that is TLS application data: it belongs to a record's authentication tag."""
    places = [(at, value) for at, kind, value in attributes(packet) if kind == EAP_MESSAGE]
    eap = b"".join(value for _, value in places)
    if len(eap) < 30 or b"\x17\x03\x03" not in eap[6:14]:
        return False
    at, value = places[-1]
    packet[at + 1 + len(value)] ^= 1
    return True


# What is flipped in an Accept: Microsoft's attributes (RFC 2548), and the octet of their value
FLIPS = {
    "msk": ((16, 17), 2 + 1 + 10),  # MS-MPPE-Send-Key, MS-MPPE-Recv-Key: salt, the length of the key, the key
    "mschap": ((26,), 1 + 2),  # MS-CHAP2-Success: identifier, "S=", digits
}


def flip_accept(packet, kinds, offset):
    flipped = False
    for at, kind, value in list(attributes(packet)):
        if kind == VENDOR and value[:4] == struct.pack(">I", 311) and value[4] in kinds:
            packet[at + 2 + 6 + offset] ^= 1
            flipped = True
    return flipped


def proxy(port, server, secret, what):
    host, _, to = server.rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
        near.bind((host, port))
        far.bind((host, 0))
        far.connect((host, int(to)))
        while True:
            packet, client = near.recvfrom(4096)
            packet, request = bytearray(packet), bytes(packet[4:20])
            if what == "tunnel" and flip_tunnel(packet):
                print("a bit of the tunnel is flipped", flush=True)
                packet = authenticate(packet, request, secret)
            far.send(packet)
            far.settimeout(3)
            try:
                reply = bytearray(far.recv(4096))
            except OSError:
                continue
            if what in FLIPS and reply[0] == ACCEPT and flip_accept(reply, *FLIPS[what]):
                print("a bit of the Accept is flipped", flush=True)
                reply = signed(reply, request, secret)
            near.sendto(reply, client)


def main(argv):
    if argv[:1] == ["records"] and len(argv) >= 3:
        return wait_records(argv[1], argv[2], float(argv[3]) if len(argv) > 3 else 0)
    if argv[:1] == ["coa"] and len(argv) > 3:
        return dynamic(argv[1], argv[2].encode(), argv[3:])
    if argv[:1] == ["forge"] and len(argv) == 5:
        return forge(argv[1], argv[2].encode(), float(argv[3]), int(argv[4]))
    if argv[:1] == ["proxy"] and len(argv) == 5:
        return proxy(int(argv[1]), argv[2], argv[3].encode(), argv[4])
    print(__doc__)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
