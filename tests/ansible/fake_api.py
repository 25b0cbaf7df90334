"""A stand-in for the gateway's API on a unix socket, for the modules' test: one document, secrets as ***, commits, tokens.

Items of lists are named by their key (KEYS). It answers as mgmt-api does, as far as the modules ask.
"""

import copy
import json
import os
import secrets
import socketserver
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, unquote, urlsplit

KEYS = {"subscribers": "user", "listeners": "name", "ports": "name", "peers": "name"}
SECRET = {"secret", "psk"}
RESTART = {"ports", "dataplane"}


class Wrong(Exception):
    """A problem document."""

    def __init__(self, status, detail, errors=None):
        super().__init__(detail)
        self.status, self.body = status, {"type": "about:blank", "title": "wrong", "status": status, "detail": detail, "errors": errors or []}


def children(value, name):
    """What is below a value, by name: an object's members, a list's items by their key."""
    if isinstance(value, dict):
        return value
    if isinstance(value, list) and name in KEYS:
        return {item[KEYS[name]]: item for item in value}
    return None


def shown(value, name=""):
    """As answers have it."""
    if name in SECRET:
        return "***"
    if isinstance(value, dict):
        return {k: shown(v, k) for k, v in value.items()}
    return [shown(v) for v in value] if isinstance(value, list) else value


def changes(old, new, path="", name=""):
    """What differs, by path."""
    a, b = children(old, name), children(new, name)
    if a is None or b is None or not path and not isinstance(new, dict):
        return [] if old == new else [{"path": path, "op": "replace", "from": shown(old, name), "to": shown(new, name)}]
    found = []
    for key in sorted(a.keys() | b.keys()):
        below = "%s/%s" % (path, key)
        if key not in b:
            found.append({"path": below, "op": "remove", "from": shown(a[key], key)})
        elif key not in a:
            found.append({"path": below, "op": "add", "to": shown(b[key], key)})
        else:
            found += changes(a[key], b[key], below, key if isinstance(new, dict) else "")
    return found


def patched(value, patch):
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    value = dict(value) if isinstance(value, dict) else {}
    for key, item in patch.items():
        if item is None:
            value.pop(key, None)
        else:
            value[key] = patched(value.get(key), item)
    return value


def place(document, path, make):
    """A copy of the document with what `make` says at the path; it gets what is there (None: nothing)."""
    if not path:
        return make(document)
    document, (first, *rest) = copy.deepcopy(document), path
    if rest and isinstance(document.get(first), list):
        items, key = document[first], KEYS[first]
        at = next((i for i, item in enumerate(items) if item[key] == rest[0]), None)
        old = None if at is None else items[at]
        made = make(old) if len(rest) == 1 else place(old or {}, rest[1:], make)
        items[slice(len(items), None) if at is None else slice(at, at + 1)] = [] if made is None else [made]
        return document
    made = make(document.get(first)) if not rest else place(document[first], rest, make)
    document.pop(first, None) if made is None else document.update({first: made})
    return document


class Gateway:
    """The state behind the API."""

    def __init__(self, document):
        self.document, self.commit, self.pending, self.tokens, self.asked = document, 1, None, {}, []
        # It refuses everything, and repeats what it was sent; somebody else is quicker than who wants to confirm.
        self.repeats, self.overtaken = False, False

    def etag(self):
        return '"%d-0"' % self.commit

    def matches(self, etag):
        if etag not in (None, self.etag()):
            raise Wrong(412, "it has changed")

    def configure(self, method, path, body, query, etag):
        def make(old):
            if old is None and method in ("PATCH", "DELETE"):
                raise Wrong(404, "there is no such thing")
            return {"PUT": lambda: body, "PATCH": lambda: patched(old, body), "DELETE": lambda: None}[method]()

        self.matches(etag)
        if self.repeats:
            said = "invalid type: %s" % json.dumps(body, ensure_ascii=False)
            raise Wrong(422, said, [{"path": "/" + "/".join(path), "detail": said}])
        new = place(self.document, path, make)
        if any(not s.get("user") for s in new.get("subscribers", [])):
            raise Wrong(422, "invalid", [{"path": "/subscribers/0/user", "detail": "a name is needed"}])
        found = changes(self.document, new)
        restart = sorted({"/" + c["path"].split("/")[1] for c in found} & {"/" + r for r in RESTART})
        outcome = {"commit": None, "etag": self.etag(), "changes": found, "restart": restart, "confirm_by": None}
        if query.get("dry_run") != "true" and found:
            self.commit += 1
            outcome.update(commit=self.commit, etag=self.etag())
            if "confirm" in query:
                self.pending = self.document
                outcome["confirm_by"] = "2026-11-26T12:00:00Z"
            self.document = new
        return outcome

    def answer(self, method, url, body, headers):
        self.asked.append("%s %s" % (method, url))
        split = urlsplit(url)
        path = [unquote(p) for p in split.path.split("/")[3:] if p]
        query = {k: v[0] for k, v in parse_qs(split.query).items()}
        if path == ["health"]:
            self.commit += self.overtaken
            return 200, {"status": "ok"}
        if path == ["config", "confirm"] and method == "POST":
            if self.pending is None:
                raise Wrong(409, "nothing waits")
            if headers.get("If-Match") is None:
                raise Wrong(400, "whose commit is meant?")
            self.matches(headers.get("If-Match"))
            self.pending = None
            return 200, {}
        if path[0] == "config":
            if method == "GET":
                return 200, shown(self.document)
            return 200, self.configure(method, path[1:], body, query, headers.get("If-Match"))
        if path[0] == "tokens":
            if method == "GET":
                return 200, {"tokens": [dict(t, id=i) for i, t in self.tokens.items()]}
            if method == "POST":
                made = secrets.token_hex(4)
                self.tokens[made] = body
                return 201, dict(body, id=made, token="swgw_%s_%s" % (made, secrets.token_urlsafe(32)))
            if method == "DELETE" and self.tokens.pop(path[1], None):
                return 204, None
        raise Wrong(404, "there is no such resource")


def serve(socket, document):
    """A server that has not started yet, and its Gateway."""
    gateway = Gateway(document)

    class Handler(BaseHTTPRequestHandler):
        def handle_one(self):
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            try:
                status, answer = gateway.answer(self.command, self.path, body, self.headers)
            except Wrong as wrong:
                status, answer = wrong.status, wrong.body
            self.send_response(status)
            self.send_header("ETag", gateway.etag())
            self.send_header("Content-Type", "application/json" if status < 300 else "application/problem+json")
            text = b"" if answer is None else json.dumps(answer).encode()
            if status != 204:
                self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_PUT = do_PATCH = do_POST = do_DELETE = handle_one

        def log_message(self, *_):
            pass

        def address_string(self):
            return "local"

    if os.path.exists(socket):
        os.unlink(socket)
    return socketserver.ThreadingUnixStreamServer(socket, Handler), gateway
