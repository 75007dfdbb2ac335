# SPDX-License-Identifier: Apache-2.0
"""Builds what serves UDP and SCTP."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from oslo_config import cfg

from amphora.core.network.data_namespace import DataNamespace
from amphora.core.workloads.lvs import LvsEngine, LvsSettings
from amphora.core.workloads.lvs_files import LvsDirectory
from amphora.drivers.process_manager.base import ProcessManager
from amphora.keepalived.program import KeepalivedProgram
from amphora.lvs.program import LvsProgram
from amphora.system.command import CommandRunner


@dataclass(frozen=True, slots=True)
class Lvs:
    """The second engine, and where its files are."""

    directory: LvsDirectory
    engine: LvsEngine


def make_lvs(
    conf: cfg.ConfigOpts, services: ProcessManager, runner: CommandRunner, namespace: DataNamespace
) -> Lvs:
    """Return the engine for UDP and SCTP listeners."""
    keepalived = KeepalivedProgram(Path(conf.keepalived_vrrp.keepalived_cmd), runner)
    program = LvsProgram(keepalived, conf.network.namespace, conf.haproxy_amphora.administrative_log_facility)
    settings = LvsSettings(conf.haproxy_amphora.apply_timeout)
    engine = LvsEngine(program, services, namespace, settings)
    return Lvs(LvsDirectory(Path(conf.haproxy_amphora.base_path)), engine)
