# SPDX-License-Identifier: Apache-2.0
"""The steps of changes to an instance; :mod:`amphora.core.changes.operations` owns their order."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

from amphora.core.changes.service_changes import (
    RELOAD,
    START,
    UPLOAD,
    already_in_effect,
    discard_upload,
    restore_stored,
)
from amphora.core.workloads.haproxy import HaproxyEngine
from amphora.core.workloads.haproxy_checks import refuse_start
from amphora.core.workloads.haproxy_files import InstanceLayout
from amphora.core.workloads.running_haproxy import local_peer
from amphora.errors import InstanceNotFound, InvalidConfiguration, OperationFailed
from amphora.haproxy.preflight.findings import Finding
from amphora.haproxy.proof.prove import Evidence, Generation
from amphora.haproxy.reading.configuration import Configuration
from amphora.models import ServiceState
from amphora.system import files

_NOTHING_SEEN = Evidence(0, 0, 0, (), 0.0)

_CERTIFICATES = "-certificates"


def certificates_target(instance_id: str) -> str:
    """Return what changes to an instance's certificates are journalled under."""
    return f"{instance_id}{_CERTIFICATES}"


def certificates_of(target: str) -> str | None:
    """Return the instance whose certificates are journalled under a target; None: it is none such."""
    return target.removesuffix(_CERTIFICATES) if target.endswith(_CERTIFICATES) else None


class Upload:
    """Stores a configuration. What runs is not touched, so there is nothing to act on or to prove.

    :param local_peer: this amphora's name in ``peers`` sections; empty: its host name.
    :ivar output: haproxy's own words about it.
    """

    kind = UPLOAD
    limits: Mapping[str, float] = MappingProxyType({})

    def __init__(self, engine: HaproxyEngine, layout: InstanceLayout, data: bytes, local_peer: str) -> None:
        self.target = layout.instance_id
        self.output = ""
        self._engine = engine
        self._layout = layout
        self._data = data
        self._configuration = Configuration()
        self._local_peer = local_peer
        self._was_refused = False

    def stage(self) -> None:
        """Write what was received, and what would run."""
        layout = self._layout
        files.ensure_directory(layout.directory)
        files.write_atomically(layout.received, self._data)
        files.write_atomically(layout.received_peer, self._local_peer.encode())
        self._configuration = self._engine.stage(layout, self._data)

    def check(self) -> str:
        """Let haproxy check it; what only keeps it from running now is in its output and refuses nothing."""
        engine, layout = self._engine, self._layout
        findings = engine.findings(layout, self._configuration, self._local_peer)
        try:
            output = engine.check(layout, self._local_peer, findings)
        except InvalidConfiguration:
            self._was_refused = True
            raise
        remarks = (f"Now it would not run or run with less: {finding}" for finding in findings)
        self.output = "\n".join((output.strip(), *remarks))
        return self.output

    def swap(self) -> None:
        """Make it the stored one, with the name among peers that belongs to it."""
        finish_upload(self._layout)

    def commit(self) -> None:
        """Forget what was staged."""
        self._engine.unstage(self._layout)

    def discard(self) -> str:
        """Keep what haproxy refused for whoever looks into it, unless there was nothing before it."""
        layout = self._layout
        if self._was_refused and layout.stored.exists():
            files.rename(layout.received, layout.refused)
        return discard_upload(layout.stored, layout.directory, partial(self._engine.unstage, layout))

    def restore(self) -> str:
        """Nothing can have been lost: the stored configuration is replaced in one instant.

        :raises AlreadyInEffect: it was.
        """
        if self._layout.received.exists():
            return self.discard()
        raise already_in_effect(self.target, partial(self._engine.unstage, self._layout), self.output)


def finish_upload(layout: InstanceLayout) -> None:
    """Make what was received the stored configuration. Safe to repeat.

    The name among peers first: haproxy looks for it only at the next start or reload.
    """
    peer = files.read_if_present(layout.received_peer)
    if peer is not None:
        if peer:
            files.rename(layout.received_peer, layout.local_peer)
        else:
            files.remove(layout.local_peer)
            files.remove(layout.received_peer)
    if layout.received.exists():
        files.rename(layout.received, layout.stored)


class Activation:
    """Starts or reloads an instance from its stored configuration.

    :ivar evidence: what proved it.
    :ivar has_swapped: whether something live was touched.
    """

    def __init__(self, engine: HaproxyEngine, layout: InstanceLayout, kind: str) -> None:
        self.kind = kind
        self.target = layout.instance_id
        self.evidence = _NOTHING_SEEN
        self.has_swapped = False
        self._engine = engine
        self._layout = layout
        self._configuration = Configuration()
        self._findings: tuple[Finding, ...] = ()
        self._before: Generation | None = None

    @property
    def limits(self) -> Mapping[str, float]:
        """A start or reload may be taken twice in a restore, each with its proof."""
        patience = self._engine.patience(self._configuration)
        stopping = 30.0
        return {
            "apply": patience + stopping,
            "prove": patience + 5.0,
            "restore": 2 * patience + 2 * stopping,
        }

    def stage(self) -> None:
        """Write what is to run, and keep what runs under second names."""
        data = files.read_if_present(self._layout.stored)
        if data is None:
            raise InstanceNotFound(self.target)
        self._engine.keep_former(self._layout)
        self._configuration = self._engine.stage(self._layout, data)

    def check(self) -> None:
        """Let haproxy check it once more: what it names may have changed since the upload."""
        peer = local_peer(self._layout)
        self._findings = self._engine.findings(self._layout, self._configuration, peer)
        try:
            self._engine.check(self._layout, peer, self._findings)
        except InvalidConfiguration as error:
            raise OperationFailed(error.details) from error

    def preflight(self) -> None:
        """Refuse what could not run, and note what runs."""
        refuse_start(self._layout, self._findings)
        if self.kind == RELOAD:
            self._before = self._engine.before_reload(self._layout, self._configuration)

    def swap(self) -> None:
        """Make it what the service runs from."""
        self.has_swapped = True
        self._engine.swap(self._layout)

    def apply(self) -> None:
        """Start or reload the service."""
        if self.kind == START:
            self._engine.act_start(self._layout)
        else:
            self._engine.act_reload(self._layout, self._before)

    def prove(self) -> str:
        """See every frontend open in the new worker."""
        engine, layout, configuration = self._engine, self._layout, self._configuration
        if self.kind == START:
            self.evidence = engine.prove_start(layout, configuration)
        else:
            self.evidence = engine.prove_reload(layout, configuration, self._before)
        return str(self.evidence)

    def commit(self) -> None:
        """Make it what a later failure comes back to."""
        self._engine.keep(self._layout)

    def discard(self) -> str:
        """No process was touched."""
        worker = self._engine.serving_worker(self._layout)
        goes_on = f" Worker {worker} goes on serving." if worker else ""
        return self._tidied(f"No process was touched.{goes_on}")

    def restore(self) -> str:
        """Bring back what ran.

        :raises AlreadyInEffect: what runs is what to come back to already.
        """
        if self.has_swapped and not self._layout.to_be_proven.exists():
            raise already_in_effect(
                self.target, partial(self._engine.unstage, self._layout), str(self.evidence)
            )
        if self.kind == RELOAD and self._runs() and not self._layout.proven.exists():
            return self._tidied("haproxy goes on as it was.")
        configuration = self._engine.restore_files(self._layout)
        try:
            outcome = self._bring_back(configuration)
        except Exception:
            # Otherwise each later start of the agent would load again what has failed.
            self._tidied()
            raise
        return self._tidied(outcome)

    def _bring_back(self, configuration: Configuration | None) -> str:
        engine, layout = self._engine, self._layout
        if self.kind == START or configuration is None:
            engine.stop(layout)
            return "haproxy is stopped, as it was before."
        if self._runs():
            evidence = engine.reload(layout, configuration)
            return f"haproxy goes on with its last proven configuration (pid {evidence.master_pid})."
        evidence = engine.start(layout, configuration)
        return f"haproxy had ended and was started again (pid {evidence.master_pid})."

    def _runs(self) -> bool:
        status = self._engine.status(self._layout)
        # A master that was started from what failed may end at any moment, and has no old clients.
        is_other = self._before is not None and self._before.master_pid != status.pid
        return status.state is ServiceState.RUNNING and not is_other

    def _tidied(self, outcome: str = "") -> str:
        stored = self._restore_stored()
        self._engine.unstage(self._layout)
        return f"{outcome} {stored}"

    def _restore_stored(self) -> str:
        layout = self._layout
        return restore_stored(layout.stored, layout.proven, layout.stored_back)
