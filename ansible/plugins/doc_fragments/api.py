# Copyright: 2026, the softwire gateway's authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""How the modules' documentation says where the API is."""

from __future__ import annotations


class ModuleDocFragment:
    """The options of module_utils/api.py."""

    DOCUMENTATION = r"""
options:
  socket:
    description: The gateway's unix socket, where O(url) is absent.
    type: path
    default: /run/softwire-gateway/api.sock
  url:
    description: Where the API is reached by TLS, V(https://gw.example.net:8443).
    type: str
  token:
    description: A token of a role that may do what is asked for, for O(url).
    type: str
  ca_path:
    description: Who has signed the gateway's certificate.
    type: path
  validate_certs:
    description: V(false) believes any certificate.
    type: bool
    default: true
  timeout:
    description: Seconds that an answer may take.
    type: int
    default: 30
"""
