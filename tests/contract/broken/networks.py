# SPDX-License-Identifier: Apache-2.0
"""Network drivers that are each broken in one way, and otherwise the one of pyroute2."""

from amphora.drivers.network.pyroute2 import Pyroute2Network
from amphora.system.interfaces import interfaces


class ActivatesByHalves(Pyroute2Network):
    @classmethod
    def create(cls, context):
        driver = super().create(context)
        driver._mover._undo = lambda _origin, _config: []
        return driver


class ForgetsAtBoot(Pyroute2Network):
    @classmethod
    def create(cls, context):
        driver = super().create(context)
        driver.remembered = {}
        return driver

    def persist(self, config):
        self.remembered[config.name] = config

    def forget(self, name):
        self.remembered.pop(name, None)

    def stored(self):
        return [config for _, config in sorted(self.remembered.items())]


class TouchesManagement(Pyroute2Network):
    def activate(self, config):
        super().activate(config)
        for each in interfaces(""):
            if each.up and each.name != "lo":
                self._runner.run(("ip", "link", "set", each.name, "mtu", "1400"), timeout=10)


class DeactivatesNothing(Pyroute2Network):
    def deactivate(self, name):
        pass


class ActivationStores(Pyroute2Network):
    def activate(self, config):
        super().activate(config)
        self.persist(config)


class DifferencesHeal(Pyroute2Network):
    def differences(self):
        found = super().differences()
        self.restore()
        return found
