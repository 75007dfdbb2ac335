# SPDX-License-Identifier: Apache-2.0
"""Options of ``[amphora_agent]``."""

from __future__ import annotations

from oslo_config import cfg

GROUP = "amphora_agent"

OPTIONS = [
    cfg.StrOpt(
        "agent_server_ca",
        default="/etc/octavia/certs/client_ca.pem",
        help="CA certificates that a controller's client certificate must come from.",
    ),
    cfg.StrOpt(
        "agent_server_cert",
        default="/etc/octavia/certs/server.pem",
        help="One PEM file with the server's certificate, its unencrypted private key and any chain.",
    ),
    cfg.StrOpt(
        "agent_server_network_dir",
        help="Directory of persisted interface configurations. Unset: /etc/octavia/interfaces/.",
    ),
    cfg.IntOpt(
        "agent_request_read_timeout",
        default=180,
        min=1,
        help="Seconds a client may take to send the body of one request.",
    ),
    cfg.StrOpt("amphora_id", help="UUID of this amphora, as the controller knows it."),
    cfg.StrOpt(
        "agent_tls_protocol",
        default="TLSv1.2",
        choices=["SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"],
        help="Oldest TLS version accepted. Values below TLSv1.2 are read as TLSv1.2.",
    ),
    cfg.ListOpt(
        "allowed_client_names",
        default=[],
        help="Common names or DNS names of client certificates that may use the API; others get 401. "
        "Empty: every certificate of agent_server_ca may.",
    ),
]
