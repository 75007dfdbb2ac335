# SPDX-License-Identifier: Apache-2.0
"""Real workloads over a fake process manager, whose programs are neither run nor asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from amphora.core.workloads.haproxy import HaproxyWorkload
from amphora.core.workloads.lvs import LvsWorkload
from amphora.core.workloads.vrrp import VrrpSettings, VrrpWorkload
from amphora.errors import InvalidConfiguration
from amphora.haproxy.capabilities import read_capabilities
from amphora.haproxy.program import HaproxyProgram
from amphora.haproxy.proof.prove import Evidence, Generation
from amphora.keepalived.program import KeepalivedProgram
from amphora.models import Proof
from amphora.system.command import CommandRunner


class FakeHaproxyProgram(HaproxyProgram):
    """Refuses configurations that hold the word BAD_LINE, as haproxy would."""

    def __init__(self):
        super().__init__(Path("/usr/sbin/haproxy"), CommandRunner())
        self.peers_checked = []

    def version(self):
        return self.refresh()

    def refresh(self):
        return read_capabilities("HAProxy version 2.6.12-1 x\nFeature list : +SYSTEMD\n")

    def check(self, files: Sequence[Path], local_peer="", **_kwargs):
        self.peers_checked.append(local_peer)
        for number, line in enumerate(files[-1].read_text().splitlines(), 1):
            if "BAD_LINE" in line:
                raise InvalidConfiguration(
                    f"[ALERT] parsing [haproxy.cfg:{number}]: unknown keyword 'BAD_LINE'"
                )
        return "Configuration file is valid"


class FakeKeepalivedProgram(KeepalivedProgram):
    """Refuses configurations that hold the word BAD_LINE, as keepalived would."""

    checks = 0

    def __init__(self):
        super().__init__(Path("/usr/sbin/keepalived"), CommandRunner())

    def check(self, file, *, names, **_kwargs):
        self.checks += 1
        (included,) = (name for name in names if f"include {name}\n" in file.read_text())
        for number, line in enumerate(Path(included).read_text().splitlines(), 1):
            if "BAD_LINE" in line:
                raise InvalidConfiguration(f"({names[included]}: Line {number}) Unknown keyword 'BAD_LINE'")
        return "Configuration file is valid"


class Engine:
    """What the fakes of a test have in common: what they are to fail at, and what they did.

    ``fail_at`` maps the name of a step to errors it raises, one for each call, after calling
    ``before_failure``; ``steps`` notes the steps in order, and ``proven`` what each proof was asked about.
    """

    def __init__(self):
        self.haproxy = FakeHaproxyProgram()
        self.keepalived = FakeKeepalivedProgram()
        self.fail_at = {}
        self.steps = []
        self.proven = []
        self.before_failure = lambda: None

    def step(self, name):
        self.steps.append(name)
        self.may_fail(name)

    def prove(self, workload):
        self.proven.append(workload.files.running.read_bytes())
        self.may_fail("prove")
        pid = workload.status().pid
        return Proof(pid, str(Evidence(pid, 2, 1, (), 0.01)))

    def may_fail(self, name):
        if self.fail_at.get(name):
            self.before_failure()
            raise self.fail_at[name].pop(0)


class Faked:
    """Does every step on files and on the process manager, and proves nothing."""

    def __init__(self, engine, *given):
        super().__init__(*given)
        self.engine = engine

    def stage(self, data):
        self.engine.step("stage")
        return super().stage(data)

    def before_reload(self, configuration, *, is_rollback=False):
        return Generation(self.status().pid or 0, 0, frozenset())

    def swap(self):
        super().swap()
        self.engine.step("swap")

    def unstage(self):
        self.engine.may_fail("unstage")
        super().unstage()

    def restore_files(self):
        self.engine.step("restore_files")
        return super().restore_files()

    def prove(self, configuration, before):
        return self.engine.prove(self)

    def _start(self, configuration):
        super()._start(configuration)
        self.engine.step("start")

    def _reload(self, configuration, before):
        self._services.reload(self.files.service_name)
        self.engine.step("reload")


class FakeHaproxy(Faked, HaproxyWorkload):
    """An instance."""

    def findings(self, configuration, local_peer):
        self.engine.step("preflight")
        return ()


class FakeLvs(Faked, LvsWorkload):
    """A listener for UDP; a reload of it is a restart."""

    def before_reload(self, configuration, *, is_rollback=False):
        return None


class FakeVrrpWorkload(Faked, VrrpWorkload):
    """keepalived's VRRP; nobody watches over it before it is recovered."""

    def __init__(self, own_files, context, engine):
        super().__init__(engine, own_files, context, engine.keepalived, VrrpSettings("", 1.0))

    def _prepare_start(self, configuration):
        pass
