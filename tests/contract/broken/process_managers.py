# SPDX-License-Identifier: Apache-2.0
"""Process managers that are each broken in one way, and otherwise the standalone one."""

import os
import secrets
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from amphora.drivers.process_manager.standalone import StandaloneProcessManager
from amphora.models import Readiness, ServiceState, ServiceStatus


class Sample(StandaloneProcessManager):
    @classmethod
    def create(cls, context):
        driver = super().create(context)
        driver.state = context.state_directory
        return driver

    def path(self, name, suffix):
        return self.state / f"{name}.{suffix}"


class InstallRestarts(Sample):
    def install(self, spec):
        runs = self.status(spec.name).state is ServiceState.RUNNING
        super().install(spec)
        if runs:
            self.stop(spec.name)
            self.start(spec.name)


class LosesStateOnRestart(Sample):
    @classmethod
    def create(cls, context):
        another = context.state_directory / secrets.token_hex(4)
        return super().create(replace(context, state_directory=another))

    def install(self, spec):
        # By this the test finds the processes that nobody else knows any more.
        mark = {"SAMPLE_MARK": os.environ.get("SAMPLE_MARK", "")}
        super().install(replace(spec, environment={**spec.environment, **mark}))


class InstallsNonAtomically(Sample):
    def install(self, spec):
        record = self.path(spec.name, "json")
        if record.exists():
            record.write_text("")
        super().install(spec)


class TrustsStalePid(Sample):
    def start(self, name):
        super().start(name)
        self.path(name, "pid").write_text(str(super().status(name).pid))

    def status(self, name):
        status = super().status(name)
        recorded = self.path(name, "pid")
        if status.state is ServiceState.FAILED and recorded.exists():
            pid = int(recorded.read_text())
            if Path(f"/proc/{pid}").exists():
                return ServiceStatus(ServiceState.RUNNING, pid, datetime.now(UTC))
        return status


class BlocksForEver(Sample):
    def start(self, name):
        threading.Event().wait()


class CannotBeInterrupted(Sample):
    def start(self, name):
        while True:
            try:
                threading.Event().wait()
            except BaseException:  # noqa: S112
                continue


class TakesTheProcessDown(Sample):
    def reload(self, name):
        os.abort()


class LiesOnStatus(Sample):
    def start(self, name):
        self.path(name, "started").touch()
        super().start(name)

    def stop(self, name):
        self.path(name, "started").unlink(missing_ok=True)
        super().stop(name)

    def status(self, name):
        status = super().status(name)
        if status.state is ServiceState.STOPPED and self.path(name, "started").exists():
            return ServiceStatus(ServiceState.RUNNING, os.getpid(), datetime.now(UTC))
        return status


class LeaksDescriptor(Sample):
    def start(self, name):
        os.open("/dev/null", os.O_RDONLY)
        super().start(name)


class LeavesFileBehind(Sample):
    def remove(self, name):
        self.state.mkdir(exist_ok=True)
        self.path(name, "removed").touch()
        super().remove(name)


class StartsBeforeReady(Sample):
    def install(self, spec):
        ready = Readiness.EXEC if spec.readiness is Readiness.NOTIFY else spec.readiness
        super().install(replace(spec, readiness=ready))


class IgnoresStopTimeout(Sample):
    def install(self, spec):
        super().install(replace(spec, stop_timeout=0.0))


class ReloadRestarts(Sample):
    def reload(self, name):
        super().reload(name)
        self.stop(name)
        self.start(name)


class ReloadsUnchecked(Sample):
    def install(self, spec):
        super().install(spec)
        self.path(spec.name, "signal").write_text(str(int(spec.reload_signal)))

    def reload(self, name):
        status = self.status(name)
        if status.state is not ServiceState.RUNNING:
            super().reload(name)
        os.kill(status.pid, int(self.path(name, "signal").read_text()))


class PrintsOldOutput(Sample):
    def output(self, name):
        return self.path(name, "log").read_text().strip() if super().output(name) else ""


class LeaksEnvironment(Sample):
    def install(self, spec):
        super().install(replace(spec, environment={**os.environ, **spec.environment}))


class HandsArgumentsToShell(Sample):
    def install(self, spec):
        super().install(replace(spec, argv=("/bin/sh", "-c", "exec " + " ".join(spec.argv))))
