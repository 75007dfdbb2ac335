# SPDX-License-Identifier: Apache-2.0
"""Reads configuration files; every error in them becomes one clear sentence."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from oslo_config import cfg
from oslo_log import log

from amphora.conf import opts
from amphora.errors import ConfigurationError

#: Exit status of oslo.config; argparse has 2 for a wrong command line.
_UNUSABLE_IN_FILE = 1

_REFERENCE_ERRORS = (cfg.NoSuchOptError, cfg.NoSuchGroupError, cfg.TemplateSubstitutionError, RecursionError)

_DESCRIPTION = (
    "Serves the API of a load-balancer VM until SIGTERM. With the word 'drivers' in front, or with "
    "--list-drivers anywhere, it only prints each installed driver, where it comes from, whether it can "
    "be used here, and which ones this configuration selects; exit status 2 if a driver that is needed "
    "to start is missing."
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
    except cfg.ConfigFileParseError as error:
        raise ConfigurationError(_unreadable(error)) from None
    except cfg.Error as error:
        raise ConfigurationError(_one_line(error)) from error
    except UnicodeDecodeError:
        raise ConfigurationError("a configuration file is not text in UTF-8") from None
    except SystemExit as error:
        if error.code != _UNUSABLE_IN_FILE:
            raise
        # oslo.config names it on standard error, and would end the process that validates a file.
        raise ConfigurationError(
            "an option that the command line knows too, such as debug, has a value that cannot be used"
        ) from None
    check_values(conf)
    return conf


def file_in_use(conf: cfg.ConfigOpts) -> Path | None:
    """Return the first configuration file that was named on the command line, or None."""
    return Path(conf.config_file[0]) if conf.config_file else None


def load_instead(arguments: Sequence[str], version: str, current: Path, other: Path) -> cfg.ConfigOpts:
    """Like :func:`load`, with one file in place of another that the command line names.

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
    """Read every option of the agent's once, since oslo.config checks a value only when it is read.

    :raises ConfigurationError: names file, group, option and why.
    """
    for group, options in opts.list_opts():
        for option in options:
            try:
                getattr(conf[group], option.dest)
            except (cfg.Error, ValueError, RecursionError) as error:
                raise ConfigurationError(_unusable(conf, group, option, error)) from None


def unknown_options(conf: cfg.ConfigOpts) -> Iterator[str]:
    """Yield a sentence for each option in the files that this release does not know.

    Controllers of other releases write options that this one does not read, so these are not errors.
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


#: Options that a reload applies; all others are read once, at start.
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


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of a file, with the section and the option that it belongs to; each may be empty."""

    path: str
    number: int
    section: str
    option: str
    text: str


def _lines(path: str) -> Iterator[_Line]:
    section = option = ""
    for number, text in enumerate(Path(path).read_text(errors="replace").split("\n"), 1):
        if text.startswith("[") and text.rstrip().endswith("]"):
            section = text.strip("[] ")
        if not text.strip() or text.startswith(("#", ";", "[")):
            option = ""
        elif not text[0].isspace():
            option = re.split("[:=]", text, maxsplit=1)[0].strip().replace("-", "_")
        yield _Line(path, number, section, option, text)


def _unreadable(error: cfg.ConfigFileParseError) -> str:
    """Return what is wrong with a file, without quoting the line: it may hold a secret."""
    why = error.__context__
    if not isinstance(why, cfg.ParseError):
        return f"{error.config_file} cannot be read"
    section = next((each.section for each in _lines(error.config_file) if each.number == why.lineno), "")
    where = f"line {why.lineno}" + (f" in [{section}]" if section else "")
    return f"{error.config_file}: {where} cannot be read: {why.msg}"


def _unusable(conf: cfg.ConfigOpts, group: str, option: cfg.Opt, error: Exception) -> str:
    """Return why a value cannot be used, without quoting what may be secret."""
    lines = [line for path in conf.config_file for line in _lines(path)]
    found = [line for line in lines if (line.section.lower(), line.option) == (group.lower(), option.dest)]
    reason = _one_line(error).rpartition(" is not valid: ")[2]
    if isinstance(error, _REFERENCE_ERRORS):
        # The error's own words quote the value.
        reason = "it refers by $ to itself or to no option; $ itself is written as $$"
    elif option.secret or any("$" in line.text for line in found):
        reason = "its value cannot be used"
    if not found:
        return f"{', '.join(conf.config_file) or 'the command line'}: [{group}] {option.name}: {reason}"
    begin = [line for line in found if not line.text[0].isspace()][-1]
    return f"{begin.path}: [{group}] {option.name}: {reason} (line {begin.number})"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
