"""A gateway that is made up: the management API as the live view reads it, over plain HTTP on loopback.

The page itself comes from mgmt-api/src/view, with the policy that mgmt-api/src/view.rs sends. Answers have the shapes of
controlplane's `northbound`, and there are 100,000 subscribers. What a test wants to go wrong it sets in `World`.
"""
import datetime
import http.server
import json
import pathlib
import queue
import re
import sys
import threading
import time
import urllib.parse

import answers

VIEW = pathlib.Path(__file__).resolve().parents[2] / "mgmt-api/src/view"
KINDS = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
POLICY = re.sub(r"\\\n\s*", "", re.search(r'const POLICY: &str = "(.*?)";', (VIEW.parent / "view.rs").read_text(), re.S)[1])
TOKENS = {f"swgw_{role}": role for role in ("read", "operate", "admin")}


class World:
    """What there is, and what goes wrong: `broken` is a status that all questions are answered with."""

    def __init__(self):
        self.start = time.time()
        self.broken = None
        self.missing = set()
        self.empty = False
        self.calm = False
        self.many = 3000
        self.refused = 0
        self.actions = []
        self.told = 0
        self.subscribers = answers.subscribers()
        self.readers = []
        self.telling = threading.Lock()

    def now(self):
        return time.time() - self.start

    def emit(self, kind, **fields):
        at = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        with self.telling:
            self.told += kind != "lagged"
            event = (None, kind, fields) if kind == "lagged" else (self.told, kind, {"at": at, "kind": kind, **fields})
            for reader in self.readers:
                reader.put(event)


class Refused(Exception):
    def __init__(self, status, detail, **headers):
        self.status, self.detail, self.headers = status, detail, headers


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    world = None

    def log_message(self, *_):
        pass

    def answer(self, status, body, kind="application/json", **headers):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do(self):
        url = urllib.parse.urlsplit(self.path)
        try:
            if url.path == "/" or url.path.startswith("/view/"):
                return self.page("index.html" if url.path == "/" else url.path[6:])
            if not url.path.startswith("/api/v1/"):
                raise Refused(404, "there is no such resource")
            parts = [urllib.parse.unquote(part) for part in url.path[8:].split("/")]
            self.resource(parts, dict(urllib.parse.parse_qsl(url.query)))
        except Refused as no:
            titles = {401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 429: "Too Many Requests", 503: "Service Unavailable"}
            document = {"type": "about:blank", "title": titles.get(no.status, "Error"), "status": no.status, "detail": no.detail}
            self.answer(no.status, document, "application/problem+json", **no.headers)

    do_GET = do_POST = do_DELETE = do

    def page(self, name):
        file = VIEW / name
        if file.parent != VIEW or not file.is_file():
            raise Refused(404, "the live view has no such part")
        self.answer(200, file.read_bytes(), KINDS[file.suffix], content_security_policy=POLICY, x_content_type_options="nosniff", cache_control="no-cache")

    def role(self):
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        role = TOKENS.get(token) if scheme == "Bearer" else None
        if role is None:
            if token:
                self.world.refused += 1
                if self.world.refused > 5:
                    raise Refused(429, "too many failed logins", Retry_After="7")
            raise Refused(401, "a token is needed", WWW_Authenticate="Bearer")
        return role

    def resource(self, parts, asked):
        world = self.world
        if world.broken:
            raise Refused(world.broken, "the control plane is shutting down")
        if parts == ["ready"]:
            return self.ready()
        role = self.role()
        if parts[0] in world.missing:
            raise Refused(404, "there is no such resource")
        if self.command != "GET":
            self.rfile.read(int(self.headers.get("content-length", 0)))
            if role == "read":
                raise Refused(403, "the role read may not do this")
            world.actions.append(f"{self.command} /{'/'.join(parts)}")
            if self.command == "DELETE" and parts[0] == "subscribers":
                world.subscribers = [s for s in world.subscribers if s["id"] != parts[1]]
            return self.answer(202, b"")
        if parts == ["whoami"]:
            return self.answer(200, {"name": "wall", "role": role})
        if parts == ["events"]:
            return self.events()
        if parts[0] == "subscribers":
            return self.answer(200, self.subscribers(parts[1:], asked))
        found = answers.answer(world, parts, asked)
        if found is None:
            raise Refused(404, "there is no such resource")
        self.answer(200, found)

    def ready(self):
        wrong = {} if self.world.calm else {"drain": "draining", "workers": "worker 7 does not poll"}
        if not wrong:
            return self.answer(200, {"checks": {"control": "ok", "workers": "ok", "drain": "ok"}})
        errors = [{"path": f"/checks/{check}", "detail": detail} for check, detail in wrong.items()]
        document = {"type": "/problems/not-ready", "title": "Service Unavailable", "status": 503, "detail": "; ".join(wrong.values()), "errors": errors}
        self.answer(503, document, "application/problem+json")

    def subscribers(self, parts, asked):
        rows = [] if self.world.empty else self.world.subscribers
        if parts:
            found = [s for s in rows if s["id"] == parts[0]]
            if not found:
                raise Refused(404, f"there is no subscriber {parts[0]}")
            return answers.subscriber(found[0], self.world.now())
        has = {
            "user": lambda s, v: s["user"] == v,
            "listener": lambda s, v: s["listener"] == v,
            "state": lambda s, v: s["state"] == v,
            "address": lambda s, v: v in (s["ipv4"], s["outer"].rsplit(":", 1)[0].strip("[]"), s["ipv6_prefix"]),
        }
        tests = [(test, asked[name]) for name, test in has.items() if name in asked]
        return answers.page(rows, asked, lambda s: answers.subscriber(s, self.world.now()), lambda s: all(test(s, value) for test, value in tests))

    def events(self):
        self.close_connection = True
        mine = queue.Queue()
        # Whoever has the answer is told of all that comes after it.
        with self.world.telling:
            self.world.readers.append(mine)
        try:
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("connection", "close")
            self.end_headers()
            while not self.world.broken:
                try:
                    number, kind, data = mine.get(timeout=0.5)
                    name = "" if number is None else f"id: {number}\r\n"
                    self.wfile.write(f"event: {kind}\r\n{name}data: {json.dumps(data)}\r\n\r\n".encode())
                except queue.Empty:
                    self.wfile.write(b": still here\n\n")
                self.wfile.flush()
        finally:
            with self.world.telling:
                self.world.readers.remove(mine)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        # A browser that goes away in the middle of an answer is nothing to tell of.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def serve():
    """Starts one; returns its world, its address and how to stop it."""
    world = World()
    handler = type("Bound", (Handler,), {"world": world})
    server = Server(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def stop():
        server.shutdown()
        server.server_close()
    return world, f"http://127.0.0.1:{server.server_port}", stop


if __name__ == "__main__":
    made, address, _ = serve()
    print(f"{address}  tokens: {', '.join(TOKENS)}", flush=True)
    while True:
        time.sleep(2)
        made.emit("session.up", user=f"user{made.told:06}@example.net", listener="secure", id="513.1025")
