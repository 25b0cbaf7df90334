#!/usr/bin/python
# Copyright: 2026, the softwire gateway's authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""Module softwire_config."""

from __future__ import annotations

DOCUMENTATION = r"""
module: softwire_config
short_description: The configuration of a softwire gateway
description:
  - Brings the configuration of a gateway, or a part of it, into the state that is asked for, by the gateway's API.
  - The gateway itself says what would change, so secrets are compared without being read.
  - With O(confirm), the gateway takes the change back unless the module still reaches it afterwards.
  - Where the gateway refuses, its words are repeated without what O(config) has under V(secret), V(psk) and V(hash).
version_added: 0.1.0
author: the softwire gateway's authors (@softwire-gateway)
options:
  path:
    description:
      - The part that O(config) is about, V(/subscribers/alice) or V(/bgp/neighbours/2001:db8::1); items of lists are named by their keys.
      - A slash within a key is written V(%2F), and a percent sign V(%25).
      - The whole document where absent.
    type: str
    default: ""
  config:
    description: What is to be there. Not for O(state=deleted).
    type: raw
  state:
    description:
      - V(replaced) makes the part what O(config) says, and nothing else is left there.
      - V(merged) changes what O(config) names, by a merge patch (RFC 7396), and leaves the rest.
      - V(deleted) removes the part.
    type: str
    choices: [replaced, merged, deleted]
    default: replaced
  comment:
    description: What the gateway's history says about the change.
    type: str
    default: by Ansible
  confirm:
    description: Seconds after which the gateway takes the change back, unless the module has confirmed it.
    type: int
extends_documentation_fragment: [softwire.gateway.api]
attributes:
  check_mode: {support: full, description: The gateway says what would change., details: ""}
  diff_mode: {support: full, description: What would change or has changed. Secrets are not shown., details: ""}
"""

EXAMPLES = r"""
- name: The whole configuration, taken back after a minute if the gateway is not reached any more
  softwire.gateway.softwire_config:
    config: "{{ gateway_config }}"
    confirm: 60

- name: A subscriber, from elsewhere
  softwire.gateway.softwire_config:
    url: https://gw.example.net:8443
    token: "{{ vault_gateway_token }}"
    path: /subscribers/alice
    config:
      user: alice
      secret: "{{ vault_alice_secret }}"

- name: One setting
  softwire.gateway.softwire_config:
    path: /ike
    config: {dpd: 20s}
    state: merged
"""

RETURN = r"""
changes:
  description: What has changed, or would change; paths by key. Secrets are C(***).
  returned: success
  type: list
  elements: dict
  sample: [{"path": "/subscribers/alice", "op": "add", "to": {"user": "alice", "secret": "***"}}]
commit:
  description: The commit that the change has become.
  returned: when something was changed
  type: int
restart:
  description: Parts that the gateway has stored, and that count after its next start.
  returned: success
  type: list
  elements: str
  sample: [/ports]
"""

import json
from urllib.parse import quote

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.softwire.gateway.plugins.module_utils.api import ARGUMENTS, Api, Refused

METHODS = {"replaced": "PUT", "merged": "PATCH", "deleted": "DELETE"}
# Keys of the configuration under which secrets are.
SECRETS = ("secret", "psk", "hash")


def secrets(value, hidden=False):
    """The texts that a document has under such keys, at any depth."""
    if isinstance(value, dict):
        names = set(value) if hidden else set()
        return names.union(*(secrets(below, hidden or key in SECRETS) for key, below in value.items()))
    if isinstance(value, list):
        return {text for below in value for text in secrets(below, hidden)}
    return {str(value)} - {""} if hidden and value is not None else set()


def blanked(value, texts):
    """What the gateway says, with *** in the place of each of them, as it is or as a quoted text has it; the longest first."""
    if isinstance(value, dict):
        return {key: blanked(below, texts) for key, below in value.items()}
    if isinstance(value, list):
        return [blanked(below, texts) for below in value]
    if isinstance(value, str):
        quoted = {json.dumps(text, ensure_ascii=False)[1:-1] for text in texts}
        for text in sorted(texts | quoted, key=len, reverse=True):
            value = value.replace(text, "***")
    return value


def sides(changes):
    """What a diff shows: the values before and after, by path."""
    before = {c["path"]: c.get("from") for c in changes if c["op"] != "add"}
    after = {c["path"]: c.get("to") for c in changes if c["op"] != "remove"}
    return {"before": before, "after": after, "before_header": "running", "after_header": "wanted"}


def apply(module, api):
    """Brings about what is asked for; the module's result."""
    wanted = module.params
    method = METHODS[wanted["state"]]
    path = wanted["path"].strip("/")
    part = "/config" + ("/" + quote(path, safe="/%:") if path else "")
    try:
        would, etag = api.call(method, part, wanted["config"], dry_run=True)
    except Refused as e:
        if wanted["state"] == "deleted" and e.status == 404:
            return {"changed": False, "changes": [], "restart": []}
        raise
    result = {"changed": bool(would["changes"]), "changes": would["changes"], "restart": would["restart"]}
    if not result["changed"]:
        return result
    result["diff"] = sides(would["changes"])
    if module.check_mode:
        return result
    confirm = wanted["confirm"]
    # Only onto what the dry run has seen.
    done, ours = api.call(method, part, wanted["config"], etag, comment=wanted["comment"], confirm=confirm)
    if confirm is not None and done["confirm_by"] is not None:
        api.call("GET", "/health")
        # Nobody else's commit, should ours be gone.
        api.call("POST", "/config/confirm", etag=ours)
    result.update(commit=done["commit"], changes=done["changes"], restart=done["restart"])
    return result


def main():
    """Runs the module."""
    module = AnsibleModule(
        argument_spec=dict(
            ARGUMENTS,
            path={"type": "str", "default": ""},
            config={"type": "raw", "no_log": True},
            state={"type": "str", "choices": list(METHODS), "default": "replaced"},
            comment={"type": "str", "default": "by Ansible"},
            confirm={"type": "int"},
        ),
        required_if=[("state", "replaced", ["config"]), ("state", "merged", ["config"])],
        supports_check_mode=True,
    )
    if module.params["state"] == "deleted":
        module.params["config"] = None
    # no_log keeps the document out of the system's log. What the gateway answers has no secrets in it, and would be
    # unreadable if every name and number of the document were blotted out there.
    module.no_log_values = {module.params["token"]} - {None}
    said = {"invocation": {"module_args": {k: v for k, v in module.params.items() if k not in ("config", "token")}}}
    try:
        module.exit_json(**said, **apply(module, Api(module)))
    except Refused as e:
        texts = secrets(module.params["config"], module.params["path"].rstrip("/").rpartition("/")[2] in SECRETS)
        module.fail_json(msg=blanked(str(e), texts), problem=blanked(e.problem, texts), status=e.status, **said)


if __name__ == "__main__":
    main()
