#!/usr/bin/python
# Copyright: 2026, the softwire gateway's authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""Module softwire_token."""

from __future__ import annotations

DOCUMENTATION = r"""
module: softwire_token
short_description: A token for the API of a softwire gateway
description:
  - The gateway shows a token once, when it makes it. The module keeps it in a file, and makes a new one when that file or the token is gone.
version_added: 0.1.0
author: the softwire gateway's authors (@softwire-gateway)
options:
  name:
    description: Whose token it is; the gateway's audit log calls its user so.
    type: str
    required: true
  role:
    description: What it is good for. A token of another role is replaced.
    type: str
    choices: [read, operate, admin]
    default: read
  path:
    description: The file that has the token in it. Its mode is 0600.
    type: path
    required: true
  state:
    description: V(absent) takes the token back and removes the file.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment: [softwire.gateway.api]
attributes:
  check_mode: {support: full, description: Says whether a token would be made., details: ""}
  diff_mode: {support: none, description: A token is not shown., details: ""}
"""

EXAMPLES = r"""
- name: A token by which Prometheus reads metrics
  softwire.gateway.softwire_token:
    name: prometheus
    path: /etc/softwire-gateway/prometheus.token
"""

RETURN = r"""
id:
  description: The token's identifier, which is no secret.
  returned: when there is one
  type: str
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.softwire.gateway.plugins.module_utils.api import ARGUMENTS, Api, Refused


def kept(path):
    """Identifier of the token in the file: swgw_ID_SECRET."""
    try:
        with open(path, encoding="ascii") as f:
            parts = f.read().strip().split("_", 2)
    except (OSError, UnicodeDecodeError):
        return None
    return parts[1] if len(parts) == 3 and parts[0] == "swgw" else None


def keep(module, path, token):
    """Writes the file, readable for its owner only from the start."""
    temporary = os.path.join(module.tmpdir, "token")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as f:
        f.write(token + "\n")
    module.atomic_move(temporary, path)
    os.chmod(path, 0o600)


def apply(module, api):
    """Brings about what is asked for; the module's result."""
    wanted = module.params
    path = wanted["path"]
    named = [t for t in api.call("GET", "/tokens")[0]["tokens"] if t["name"] == wanted["name"]]
    good = [t for t in named if t["role"] == wanted["role"] and t["id"] == kept(path)]
    if wanted["state"] == "present" and len(good) == len(named) == 1:
        return {"changed": False, "id": good[0]["id"]}
    if wanted["state"] == "absent" and not named and not os.path.exists(path):
        return {"changed": False}
    if module.check_mode:
        return {"changed": True}
    for token in named:
        api.call("DELETE", "/tokens/" + token["id"])
    if wanted["state"] == "absent":
        if os.path.exists(path):
            os.unlink(path)
        return {"changed": True}
    made = api.call("POST", "/tokens", {"name": wanted["name"], "role": wanted["role"]})[0]
    keep(module, path, made["token"])
    return {"changed": True, "id": made["id"]}


def main():
    """Runs the module."""
    module = AnsibleModule(
        argument_spec=dict(
            ARGUMENTS,
            name={"type": "str", "required": True},
            role={"type": "str", "choices": ["read", "operate", "admin"], "default": "read"},
            path={"type": "path", "required": True},
            state={"type": "str", "choices": ["present", "absent"], "default": "present"},
        ),
        supports_check_mode=True,
    )
    try:
        module.exit_json(**apply(module, Api(module)))
    except Refused as e:
        module.fail_json(msg=str(e), problem=e.problem, status=e.status)


if __name__ == "__main__":
    main()
