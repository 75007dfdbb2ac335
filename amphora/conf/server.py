# SPDX-License-Identifier: Apache-2.0
"""Options of ``[server]``: limits of the API server. Seconds, bytes and counts."""

from __future__ import annotations

from oslo_config import cfg

GROUP = "server"

OPTIONS = [
    cfg.IntOpt(
        "max_body_size",
        default=1024 * 1024,
        min=4096,
        help="Largest request body in bytes. Raise it for load balancers with thousands of members.",
    ),
    cfg.FloatOpt("handshake_timeout", default=5.0, min=0.1, help="Seconds a TLS handshake may take."),
    cfg.FloatOpt("header_timeout", default=10.0, min=0.1, help="Seconds until a request's headers are in."),
    cfg.FloatOpt("idle_timeout", default=75.0, min=0.1, help="Seconds a connection is kept without request."),
    cfg.IntOpt(
        "max_unauthenticated",
        default=512,
        min=1,
        help="Connections that may be without a finished TLS handshake at once. When full, the source "
        "address with most of them loses its oldest, so that a controller always finds room.",
    ),
    cfg.IntOpt(
        "max_unauthenticated_per_source",
        default=256,
        min=1,
        help="The same for one source address.",
    ),
]
