# Copyright: 2026, the softwire gateway's authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""The gateway's API, over its unix socket or by TLS with a token: what the collection's modules share."""

from __future__ import annotations

import json
from urllib.parse import quote

from ansible.module_utils.urls import fetch_url

ARGUMENTS = {
    "socket": {"type": "path", "default": "/run/softwire-gateway/api.sock"},
    "url": {"type": "str"},
    "token": {"type": "str", "no_log": True},
    "ca_path": {"type": "path"},
    "validate_certs": {"type": "bool", "default": True},
    "timeout": {"type": "int", "default": 30},
}


class Refused(Exception):
    """The gateway's problem document (RFC 9457)."""

    def __init__(self, status, problem):
        self.status = status
        self.problem = problem
        places = ["%s: %s" % (e.get("path", ""), e.get("detail", "")) for e in problem.get("errors") or []]
        said = "; ".join(places) or problem.get("detail") or problem.get("title") or "no answer"
        super().__init__("the gateway says %s: %s" % (status, said))


class Api:
    """Asks the gateway."""

    def __init__(self, module):
        self.module = module

    def call(self, method, path, body=None, etag=None, **query):
        """The answer's document and ETag; raises Refused."""
        arguments = self.module.params
        asked = {k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in query.items() if v is not None}
        if asked:
            path += "?" + "&".join("%s=%s" % (k, quote(v, safe="")) for k, v in sorted(asked.items()))
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/merge-patch+json" if method == "PATCH" else "application/json"
        if etag is not None:
            headers["If-Match"] = etag
        if arguments["token"]:
            headers["Authorization"] = "Bearer " + arguments["token"]
        remote = arguments["url"]
        response, info = fetch_url(
            self.module,
            (remote.rstrip("/") if remote else "http://localhost") + "/api/v1" + path,
            data=None if body is None else json.dumps(body),
            headers=headers,
            method=method,
            timeout=arguments["timeout"],
            unix_socket=None if remote else arguments["socket"],
            ca_path=arguments["ca_path"],
            use_proxy=bool(remote),
        )
        text = info.get("body") or (response.read() if response else b"")
        try:
            document = json.loads(text) if text else None
        except ValueError:
            document = None
        if not 200 <= info["status"] < 300:
            problem = document if isinstance(document, dict) else {"detail": info.get("msg")}
            raise Refused(info["status"], problem)
        return document, info.get("etag")
