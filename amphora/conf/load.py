# SPDX-License-Identifier: Apache-2.0
"""Reads configuration files and turns every way to get them wrong into one clear sentence."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from oslo_config import cfg
from oslo_log import log

from amphora.conf import opts
from amphora.errors import ConfigurationError

_DESCRIPTION = (
    "Serves the API of a load-balancer VM until SIGTERM. With the word 'drivers' in front, or with "
    "--list-drivers anywhere, it prints instead each installed driver, where it comes from, whether it can "
    "be used here, and which ones this configuration selects; exit status 2 when it could not start for "
    "want of a driver."
)


def load(arguments: Sequence[str], version: str) -> cfg.ConfigOpts:
    """Parse the command line and the files it names, and check every value.

    ``--version`` and ``--help`` print and raise SystemExit.

    :raises ConfigurationError: file, group, option and why.
    """
    conf = cfg.ConfigOpts()
    opts.register_opts(conf)
    log.register_options(conf)
    try:
        conf(
            arguments,
            project="amphora-agent",
            prog="amphora-agent",
            version=version,
            description=_DESCRIPTION,
            default_config_files=[],
            default_config_dirs=[],
        )
    except cfg.Error as error:
        raise ConfigurationError(_one_line(error)) from error
    check_values(conf)
    return conf


def file_in_use(conf: cfg.ConfigOpts) -> Path | None:
    """Return the first configuration file that was named on the command line, or None."""
    return Path(conf.config_file[0]) if conf.config_file else None


def load_instead(arguments: Sequence[str], version: str, current: Path, other: Path) -> cfg.ConfigOpts:
    """Like :func:`load`, with one file read in place of another that the command line names.

    :raises ConfigurationError: file, group, option and why; or the command line does not name it.
    """
    changed = [_with_other_value(argument, current, other) for argument in arguments]
    if changed == list(arguments):
        raise ConfigurationError(f"{current} is not named on the command line")
    return load(changed, version)


def _with_other_value(argument: str, current: Path, other: Path) -> str:
    option, separator, value = argument.rpartition("=")
    return (
        f"{option}{separator}{other}"
        if os.path.abspath(os.path.expanduser(value)) == str(current)
        else argument
    )


def check_values(conf: cfg.ConfigOpts) -> None:
    """Read every option of ours once, since oslo.config checks a value only when it is read.

    :raises ConfigurationError: names file, group, option and why.
    """
    for group, options in opts.list_opts():
        for option in options:
            try:
                getattr(conf[group], option.dest)
            except (cfg.Error, ValueError) as error:
                sources = ", ".join(conf.config_file) or "the command line"
                reason = _one_line(error).rpartition(" is not valid: ")[2]
                raise ConfigurationError(f"{sources}: [{group}] {option.name}: {reason}") from error


def unknown_options(conf: cfg.ConfigOpts) -> Iterator[str]:
    """Yield a sentence for each option in the files that this release does not know.

    Controllers of other releases write more options than one agent reads, so these are no errors.
    """
    known = {(group, option.dest) for group, options in opts.list_opts() for option in options}
    known |= {("DEFAULT", name) for name in conf}
    for path in conf.config_file:
        sections: dict[str, dict[str, list[str]]] = {}
        cfg.ConfigParser(path, sections).parse()
        for group, values in sections.items():
            for name in values:
                if (group, name.replace("-", "_")) not in known:
                    yield f"{path}: [{group}] {name} is not known to this release and is ignored"


#: Options that a reload takes up; all others are read once, at start.
_RELOADED = frozenset(
    {
        ("amphora_agent", "agent_server_ca"),
        ("amphora_agent", "agent_server_cert"),
        ("amphora_agent", "agent_tls_protocol"),
        ("amphora_agent", "allowed_client_names"),
        ("controller_worker", "loadbalancer_topology"),
        ("drift", "heal_certificates"),
        ("drift", "heal_configs"),
        ("drift", "heal_interfaces"),
        ("drift", "heal_services"),
        ("drift", "heal_vip"),
        ("drift", "interval"),
        ("health_manager", "controller_ip_port_list"),
        ("health_manager", "heartbeat_interval"),
        ("health_manager", "heartbeat_key"),
    }
)


def changes_needing_restart(old: cfg.ConfigOpts, new: cfg.ConfigOpts) -> Iterator[str]:
    """Yield the name of each option that differs between two configurations and is read at start only."""
    for group, options in opts.list_opts():
        for option in options:
            changed = old[group][option.dest] != new[group][option.dest]
            if changed and (group, option.dest) not in _RELOADED:
                yield f"[{group}] {option.name}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
