# SPDX-License-Identifier: Apache-2.0
"""The scripts by which keepalived finds out whether this node still serves.

Controllers write the path of the first into keepalived's configuration. It runs every script of a directory:
one for haproxy, and one for the listeners that the kernel balances.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from amphora.core.workloads.haproxy_files import HaproxyDirectory, HaproxyFiles
from amphora.core.workloads.lvs_files import LvsDirectory
from amphora.core.workloads.vrrp_files import VrrpFiles
from amphora.errors import AmphoraError, InvalidConfiguration
from amphora.haproxy.reading.configuration import parse
from amphora.lvs.check_scripts import render_node_check
from amphora.system import files

LOG = logging.getLogger(__name__)

_ALL_SCRIPTS = """\
#!/bin/bash
# Written by amphora-agent. Runs every check of this node; 0 if all of them succeed.
failures=0
for script in {directory}/*; do
    if [ -f "$script" ]; then
        bash "$script" || failures=$((failures + $?))
    fi
done
exit $((failures > 255 ? 255 : failures))
"""


class CheckScripts:
    """Keeps keepalived's scripts in step with the instances that should run.

    :param is_to_run: whether an instance should run, be it up or not.
    :param command: exits 0 if every stats socket that follows it answers.
    :param lvs: the listeners that the kernel balances; None: there never are any.
    """

    def __init__(
        self,
        layout: VrrpFiles,
        directory: HaproxyDirectory,
        is_to_run: Callable[[HaproxyFiles], bool],
        command: Sequence[str],
        lvs: LvsDirectory | None = None,
    ) -> None:
        self._layout = layout
        self._directory = directory
        self._is_to_run = is_to_run
        self._command = tuple(command)
        self._lvs = lvs

    def install(self) -> None:
        """Write the scripts that configurations of keepalived refer to. Safe to repeat.

        :raises StorageError: they could not be written.
        """
        files.ensure_directory(self._layout.check_scripts)
        text = _ALL_SCRIPTS.format(directory=shlex.quote(str(self._layout.check_scripts)))
        _write_if_changed(self._layout.check_script, text, 0o755)
        self._write_each()

    def refresh(self) -> None:
        """Write the scripts of each kind of listener anew, if keepalived was ever set up here. Never fails.

        With the former ones, keepalived goes on to judge the node by the instances that ran before.
        """
        try:
            if self._layout.check_script.exists():
                self._write_each()
        except AmphoraError as error:
            LOG.error("keepalived's check script could not be brought up to date: %s", error)

    def _write_each(self) -> None:
        has_lvs_listeners = self._lvs is not None and bool(self._lvs.all())
        if self._lvs is not None and has_lvs_listeners:
            _write_if_changed(self._layout.lvs_check_script, render_node_check(self._lvs.path), 0o100)
        self._write_haproxy_script(may_be_absent=has_lvs_listeners)

    def _write_haproxy_script(self, may_be_absent: bool) -> None:
        sockets = [_stats_socket(layout) for layout in self._directory.all() if self._serves(layout)]
        if may_be_absent and not sockets:
            files.remove(self._layout.haproxy_check_script)
            return
        # A node without any listener serves no client.
        command = shlex.join([*self._command, *map(str, sockets)])
        _write_if_changed(
            self._layout.haproxy_check_script, f"{command}; exit $?\n" if sockets else "exit 1\n", 0o644
        )

    def _serves(self, layout: HaproxyFiles) -> bool:
        return layout.stored.exists() and self._is_to_run(layout)


def _stats_socket(layout: HaproxyFiles) -> Path:
    """Return the socket that the configuration names, else our own."""
    try:
        binds = parse(files.read_if_present(layout.stored) or b"").stats_sockets
    except InvalidConfiguration:
        binds = ()
    named: Iterable[str] = (endpoint.path for bind in binds for endpoint in bind.endpoints if endpoint.path)
    return Path(next(iter(named), str(layout.stats_socket)))


def _write_if_changed(path: Path, text: str, mode: int) -> None:
    if files.read_if_present(path) != text.encode():
        files.write_atomically(path, text.encode(), mode)
