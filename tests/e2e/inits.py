# SPDX-License-Identifier: Apache-2.0
"""How each init system installs, restarts and boots the agent; everything else is the same for all."""

from __future__ import annotations

from tests.support.nspawn import REPOSITORY


class Systemd:
    """A machine booted with systemd; the agent is its unit."""

    process_manager = "systemd"
    machine = "systemd"

    def install(self, installation):
        installation.run("cp", str(REPOSITORY / "etc/systemd/amphora-agent.service"), "/etc/systemd/system/")
        installation.run("systemctl", "enable", "--now", "amphora-agent")

    def restart(self, installation):
        installation.run("systemctl", "restart", "amphora-agent")


class Sysvinit:
    """A machine booted with sysvinit; the agent is an init script of runlevel 2."""

    process_manager = "sysvinit"
    machine = "sysvinit"

    def install(self, installation):
        script = "/etc/init.d/amphora-agent"
        installation.run("install", "-m", "0755", str(REPOSITORY / "etc/init.d/amphora-agent"), script)
        installation.run("update-rc.d", "amphora-agent", "defaults")
        installation.run("service", "amphora-agent", "start")

    def restart(self, installation):
        installation.run("service", "amphora-agent", "restart")


class Upstart:
    """A container whose init is the emulator of upstart; the agent is its job."""

    process_manager = "upstart"
    machine = "upstart"

    def install(self, installation):
        installation.run("cp", str(REPOSITORY / "etc/init/amphora-agent.conf"), "/etc/init/")
        installation.run("initctl", "start", "amphora-agent")

    def restart(self, installation):
        installation.run("initctl", "restart", "amphora-agent")


class NoInit:
    """A container that runs nothing but the agent, which runs the services itself."""

    process_manager = "standalone"
    machine = "none"

    def install(self, installation):
        """Nothing to do: the entry point has been waiting for the files."""

    def restart(self, installation):
        installation.run("pkill", "-TERM", "-f", "amphora-agent --config-file")
