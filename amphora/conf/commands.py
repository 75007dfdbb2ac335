# SPDX-License-Identifier: Apache-2.0
"""The agent's configuration as the small commands read it, which need no logging set up by it."""

from __future__ import annotations

from pathlib import Path

from oslo_config import cfg

from amphora.conf import opts
from amphora.errors import ConfigurationError

#: Where controllers have it written.
AGENT_CONFIGURATION = Path("/etc/octavia/amphora-agent.conf")


def read_configuration(path: Path = AGENT_CONFIGURATION) -> cfg.ConfigOpts:
    """Return what a file says; a missing one leaves every option at its default.

    :raises ConfigurationError: it cannot be read or parsed.
    """
    conf = cfg.ConfigOpts()
    opts.register_opts(conf)
    try:
        named = [str(path)] if path.exists() else []
        conf([], project="amphora-agent", default_config_files=named, default_config_dirs=[])
    except (cfg.Error, OSError) as error:
        raise ConfigurationError(f"{path}: {' '.join(str(error).split())}") from error
    return conf
