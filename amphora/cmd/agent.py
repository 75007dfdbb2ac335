# SPDX-License-Identifier: Apache-2.0
"""``amphora-agent``: the composition root. It builds everything and knows everyone."""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import ssl
import sys
import threading
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from oslo_config import cfg
from oslo_log import log

from amphora.api.app import make_app
from amphora.api.gateway import Gateway
from amphora.cmd.composition import Composition, load_parts
from amphora.cmd.driver_loading import print_drivers
from amphora.cmd.network_wiring import make_operations
from amphora.conf import load as configuration
from amphora.core.agent_files import AgentCertificate, AgentConfiguration
from amphora.errors import AmphoraError, ConfigurationError, StartupError
from amphora.server.agent_server import AgentServer
from amphora.server.settings import ServerSettings
from amphora.server.tls import build_context
from amphora.system.command import CommandRunner
from amphora.system.notify import Watchdog, notify_ready, notify_reloading, notify_stopping, watchdog_interval
from amphora.system.processes import share_one_arena

LOG = logging.getLogger(__name__)

_CANNOT_START = 2
_LIST_DRIVERS = "--list-drivers"

_LOG_FORMAT = "%(asctime)s.%(msecs)03d %(process)d %(levelname)s %(name)s {}%(message)s"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the agent in the foreground until SIGTERM, or list the drivers; return the exit status.

    SIGHUP reads configuration and TLS material again. haproxy processes outlive the agent.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    share_one_arena()
    if watchdog_interval() is not None:
        # The manager ends an agent that hangs by SIGABRT; then the log shows where every thread was.
        faulthandler.enable()
    try:
        if given[:1] == ["drivers"] or _LIST_DRIVERS in given:
            return _list_drivers(given)
        conf = configuration.load(given, version("amphora-agent"))
        cut_off = Agent(given, conf).run()
    except StartupError as error:
        print(f"amphora-agent: {error}", file=sys.stderr)
        return _CANNOT_START
    if cut_off:
        # Their threads are still at work, and a normal exit would wait for them without limit.
        LOG.warning("%d requests were cut off; the next start settles what they left", cut_off)
        logging.shutdown()
        os._exit(0)
    return 0


def _list_drivers(arguments: Sequence[str]) -> int:
    # No options of oslo.config's: those could be set in a file, and no file may keep the agent from serving.
    rest = [word for word in arguments[arguments[0] == "drivers" :] if word != _LIST_DRIVERS]
    conf = configuration.load(rest, version("amphora-agent"))
    problems = print_drivers(conf, CommandRunner(), sys.stdout)
    sys.stdout.flush()
    for problem in problems:
        print(f"amphora-agent: {problem}", file=sys.stderr)
    return _CANNOT_START if problems else 0


class Agent:
    """One running agent."""

    def __init__(self, arguments: Sequence[str], conf: cfg.ConfigOpts) -> None:
        self._arguments = arguments
        self._conf = self._started_with = conf
        _set_up_logging(conf)
        operations = make_operations(conf)
        self._composition = Composition(
            conf,
            load_parts(conf, operations),
            AgentCertificate(
                Path(conf.amphora_agent.agent_server_cert),
                self._validate_certificate,
                self._apply_certificate,
                operations,
            ),
            AgentConfiguration(
                configuration.file_in_use(conf),
                self._validate_configuration,
                self._apply_configuration,
                operations,
            ),
        )
        self._gateway: Gateway = make_app(self._composition.core, conf.amphora_agent.allowed_client_names)
        self._reloading = threading.Lock()
        self._watchdog: Watchdog | None = None
        self._server = AgentServer(
            self._gateway,
            _server_settings(conf),
            _tls_context(conf),
            on_ready=self._ready,
            signal_handlers={
                signal.SIGTERM: self._stop,
                signal.SIGINT: self._stop,
                signal.SIGHUP: self._start_reload,
                # logrotate of Octavia's images sends this; log files are reopened without it.
                signal.SIGUSR1: lambda: None,
            },
        )

    def run(self) -> int:
        """Recover, serve, and return after SIGTERM how many requests were cut off."""
        try:
            self._composition.recover()
            return self._server.run()
        except StartupError:
            raise
        except (AmphoraError, OSError) as error:
            raise ConfigurationError(f"the agent cannot start: {error}") from error
        finally:
            self._composition.close()

    def _ready(self, address: object) -> None:
        LOG.info("serving on %s", address)
        notify_ready()
        interval = watchdog_interval()
        if interval is not None:
            self._watchdog = Watchdog(self._server.check_alive, interval)
            self._watchdog.start()

    def _stop(self) -> None:
        LOG.info("stopping; haproxy processes go on serving")
        notify_stopping()
        if self._watchdog is not None:
            self._watchdog.stop()
        self._server.stop()

    def _validate_certificate(self, path: Path) -> None:
        _tls_context(self._conf, path)

    def _apply_certificate(self) -> None:
        self._server.replace_tls_context(_tls_context(self._conf))

    def _start_reload(self) -> None:
        # Reading files may block, and this is called in the thread that serves every connection.
        threading.Thread(target=self._reload, name="reload").start()

    def _reload(self) -> None:
        try:
            self._apply_configuration()
        except ConfigurationError as error:
            LOG.error("reload refused, everything stays as it was: %s", error)

    def _validate_configuration(self, path: Path) -> None:
        current = configuration.file_in_use(self._started_with) or path
        conf = configuration.load_instead(self._arguments, version("amphora-agent"), current, path)
        _tls_context(conf)

    def _apply_configuration(self) -> None:
        with self._reloading:
            notify_reloading()
            try:
                conf = configuration.load(self._arguments, version("amphora-agent"))
                self._server.replace_tls_context(_tls_context(conf))
                self._adopt(conf)
            finally:
                notify_ready()

    def _adopt(self, conf: cfg.ConfigOpts) -> None:
        _set_up_logging(conf)
        self._gateway.allowed_client_names = frozenset(conf.amphora_agent.allowed_client_names)
        self._composition.core.agent_certificate.path = Path(conf.amphora_agent.agent_server_cert)
        self._composition.reconfigure(conf)
        for name in configuration.changes_needing_restart(self._started_with, conf):
            LOG.warning("%s has changed; this takes effect when the agent is restarted", name)
        self._conf = conf
        LOG.info("configuration and TLS material were read again")


def _set_up_logging(conf: cfg.ConfigOpts) -> None:
    conf.set_default("logging_context_format_string", _LOG_FORMAT.format("[%(request_id)s] "))
    conf.set_default("logging_default_format_string", _LOG_FORMAT.format(""))
    if not (conf.log_file or conf.log_dir or conf.use_journal):
        conf.set_default("use_stderr", True)
    log.setup(conf, "amphora-agent")
    for sentence in configuration.unknown_options(conf):
        LOG.warning("%s", sentence)


def _server_settings(conf: cfg.ConfigOpts) -> ServerSettings:
    return ServerSettings(
        host=conf.haproxy_amphora.bind_host,
        port=conf.haproxy_amphora.bind_port,
        handshake_timeout=conf.server.handshake_timeout,
        header_timeout=conf.server.header_timeout,
        request_read_timeout=float(conf.amphora_agent.agent_request_read_timeout),
        idle_timeout=conf.server.idle_timeout,
        max_body=conf.server.max_body_size,
        max_unauthenticated=conf.server.max_unauthenticated,
        max_unauthenticated_per_source=conf.server.max_unauthenticated_per_source,
    )


def _tls_context(conf: cfg.ConfigOpts, certificate: Path | None = None) -> ssl.SSLContext:
    oldest = conf.amphora_agent.agent_tls_protocol
    return build_context(
        certificate or Path(conf.amphora_agent.agent_server_cert),
        Path(conf.amphora_agent.agent_server_ca),
        ssl.TLSVersion.TLSv1_3 if oldest == "TLSv1.3" else ssl.TLSVersion.TLSv1_2,
    )
