# SPDX-License-Identifier: Apache-2.0
"""Octavia's receiver of heartbeats, over a database that remembers what it is told."""

import contextlib
import time

from octavia.amphorae.drivers.health import heartbeat_udp
from octavia.common import config


class Session:
    """A database session without a database."""

    def begin(self):
        return contextlib.nullcontext(self)

    def commit(self):
        pass

    def rollback(self):
        pass


class Table:
    """Stands in for one of the repositories of the receiver."""

    def __init__(self, load_balancer=None):
        self.load_balancer = load_balancer
        self.changes = {}
        self.refreshed = 0

    def get_lb_for_health_update(self, _session, amphora_id):
        return self.load_balancer if amphora_id == self.load_balancer["amphora_id"] else {}

    def get(self, _session, id):
        return None

    def replace(self, _session, _amphora_id, last_update):
        self.refreshed += 1

    def update(self, _session, entity_id, operating_status):
        self.changes[entity_id] = operating_status


class Receiver:
    """Takes datagrams on the port that the configuration names."""

    def __init__(self):
        heartbeat_udp.db_api.get_session = lambda **_: Session()
        self.statistics = []
        heartbeat_udp.stats_base.update_stats_via_driver = self._keep
        self._getter = heartbeat_udp.UDPStatusGetter()

    def renew(self):
        """Take up what the configuration says now of the key."""
        group = config.cfg.CONF.health_manager
        self._getter.update(group.heartbeat_key, group.bind_ip, group.bind_port)

    def take(self, load_balancer, seconds):
        """Take the next heartbeat and say what the database of a controller would hold afterwards.

        :param load_balancer: what that database has now.
        """
        message, _source = self._receive(time.monotonic() + seconds)
        updater = self._getter.health_updater
        tables = {}
        for name in ("amphora", "amphora_health", "listener", "loadbalancer", "member", "pool"):
            tables[name] = Table(load_balancer)
            setattr(updater, f"{name}_repo", tables[name])
        self.statistics = []
        updater.update_health(message, "127.0.0.1")
        heartbeat_udp.update_stats(message)
        return {
            "message": message,
            "refreshed": tables["amphora_health"].refreshed,
            "statuses": {name: table.changes for name, table in tables.items() if table.changes},
            "statistics": self.statistics,
        }

    def _receive(self, deadline):
        while True:
            try:
                return self._getter.dorecv()
            except TimeoutError:
                if time.monotonic() > deadline:
                    raise

    def _keep(self, statistics, deltas=False):
        self.statistics = [
            {"listener_id": each.listener_id, "deltas": deltas} | each.get_stats() for each in statistics
        ]

    @staticmethod
    def listens_on():
        """The address that controllers' configuration names."""
        group = config.cfg.CONF.health_manager
        return f"{group.bind_ip}:{group.bind_port}"
