# SPDX-License-Identifier: Apache-2.0
"""A controller as a process: Octavia's own driver, told by lines of JSON what to do.

Runs in an interpreter with Octavia, never in that of the tests. Only what is not the driver is stood in
for: the database, and the keys' store by Octavia's own that keeps them in files.
"""

import base64
import contextlib
import json
import logging
import sys
import traceback

import documents
from octavia.amphorae.backends.agent import agent_jinja_cfg
from octavia.amphorae.drivers.haproxy import rest_api_driver
from octavia.common import config, constants, utils
from oslo_log import log
from receiver import Receiver

CONF = config.cfg.CONF


class ListenerTable:
    """Where the driver notes listeners that it could not configure, which it passes over otherwise."""

    failed = []

    def update(self, _session, listener_id, **_values):
        self.failed.append(listener_id)


class Sessions:
    """Makes database sessions without a database."""

    @staticmethod
    def session():
        return Sessions

    get_session = session

    @staticmethod
    def begin():
        return contextlib.nullcontext()


class Controller:
    """What the tasks of a controller's flows call on its driver.

    :param api_version: of every amphora, for one that a controller has known since before discovery.
    """

    def __init__(self, settings, api_version=None):
        self._amphora = settings.pop("amphora")
        self._api_version = api_version
        self._requests = []
        _configure(settings)
        rest_api_driver.repo.ListenerRepository = ListenerTable
        for name in ("db_api", "db_apis"):
            if hasattr(rest_api_driver, name):
                setattr(rest_api_driver, name, Sessions)
        self._driver = rest_api_driver.HaproxyAmphoraLoadBalancerDriver()
        for client in self._driver.clients.values():
            client.session.hooks["response"].append(self._note)
        self._receiver = None

    def amphora(self, **changes):
        """The amphora as its database has it; discovery has not been made yet."""
        found = documents.amphora(self._amphora | changes)
        if self._api_version is not None:
            found.api_version = self._api_version
        return found

    def balancer(self, document):
        """The load balancer with its amphorae: the one that is driven comes first."""
        peers = [documents.amphora(each) for each in document.get("peers", ())]
        return documents.load_balancer(document, [self.amphora(), *peers])

    def store_certificate(self, certificate, private_key, intermediates=None):
        return self._driver.cert_manager.store_cert(None, certificate, private_key, intermediates)

    def store_secret(self, secret):
        return self._driver.cert_manager.store_cert(None, secret, "-")

    def update(self, balancer):
        self._driver.update(self.balancer(balancer))
        failed, ListenerTable.failed[:] = list(ListenerTable.failed), []
        return {"failed": failed}

    def render(self, balancer):
        """Give the configuration of a load balancer without any TLS, as the driver uploads it."""
        made = self.balancer(balancer)
        return self._driver.jinja_combo.build_config(
            host_amphora=made.amphorae[0],
            listeners=made.listeners,
            tls_certs={},
            haproxy_versions=["2", "6"],
            amp_details={},
        )

    def start(self, balancer):
        self._driver.start(self.balancer(balancer))

    def reload(self, balancer):
        self._driver.reload(self.balancer(balancer))

    def delete(self, balancer, listener_id):
        made = self.balancer(balancer)
        (listener,) = (each for each in made.listeners if each.id == listener_id)
        self._driver.delete(listener)

    def info(self):
        return self._driver.get_info(self.amphora())

    def details(self):
        amphora = self.amphora()
        self._driver._populate_amphora_api_version(amphora)
        return self._driver.clients[amphora.api_version].get_details(amphora)

    def listeners(self):
        amphora = self.amphora()
        self._driver._populate_amphora_api_version(amphora)
        return self._driver.clients[amphora.api_version].get_all_listeners(amphora)

    def plug_vip(self, balancer, port, subnet, additional):
        self._driver.post_vip_plug(
            self.amphora(),
            self.balancer(balancer),
            None,
            documents.vip_port(port),
            documents.subnet(subnet),
            documents.additional_vips(additional),
        )

    def plug_network(self, port, vip_subnet):
        self._driver.post_network_plug(
            self.amphora(), documents.port(port), {constants.VIP_SUBNET: vip_subnet}
        )

    def interface(self, address):
        return self._driver.get_interface_from_ip(self.amphora(), address)

    def rotate(self, pem):
        self._driver.upload_cert_amp(self.amphora(), pem.encode())

    def agent_configuration(self, topology, changes):
        for name, value in changes.items():
            CONF.set_override(name, value, group="health_manager")
        return agent_jinja_cfg.AgentJinjaTemplater().build_agent_config(self._amphora["id"], topology)

    def put_agent_configuration(self, text):
        self._driver.update_amphora_agent_config(self.amphora(), text)

    def rules(self, balancer, address):
        """Set the rules that follow from listeners and allowed CIDRs, as the database gives them."""
        rows = [
            {"protocol": listener.protocol, "cidr": cidr, "port": listener.protocol_port}
            for listener in self.balancer(balancer).listeners
            for cidr in [each.cidr for each in listener.allowed_cidrs] or [None]
        ]
        wanted = [utils.map_protocol_to_nftable_protocol(row) for row in rows]
        self._driver.set_interface_rules(self.amphora(), address, wanted)
        return wanted

    def vrrp_upload(self, balancer, interface, subnet, additional):
        """Render keepalived's configuration by the driver's template and upload it."""
        made = self.balancer(balancer)
        amphora = self.amphora(vrrp_interface=interface, vrrp_id=1, vrrp_priority=100)
        network = {amphora.id: {constants.VIP_SUBNET: subnet, "additional_vip_data": additional}}
        self._driver.update_vrrp_conf(made, network, amphora)

    def vrrp_start(self):
        self._driver.start_vrrp_service(self.amphora())

    def vrrp_stop(self, balancer):
        self._driver.stop_vrrp_service(self.balancer(balancer))

    def vrrp_reload(self, balancer):
        self._driver.reload_vrrp_service(self.balancer(balancer))

    def receive(self):
        """Begin to listen for heartbeats, and say where."""
        if self._receiver is None:
            self._receiver = Receiver()
        self._receiver.renew()
        return self._receiver.listens_on()

    def heartbeat(self, load_balancer, seconds):
        return self._receiver.take(load_balancer, seconds)

    def requests(self):
        """Give the requests that the driver has made since the last time this was asked."""
        made, self._requests = self._requests, []
        return made

    def _note(self, response, *_arguments, **_options):
        body = response.request.body or b""
        body = body if isinstance(body, bytes) else body.encode()
        self._requests.append(
            {
                "method": response.request.method,
                "path": response.request.path_url,
                "content_type": response.request.headers.get("Content-Type", ""),
                "body": base64.b64encode(body).decode(),
                "status": response.status_code,
            }
        )


def _configure(settings):
    log.register_options(CONF)
    CONF([], project="octavia", default_config_files=[])
    for group, values in settings.items():
        for name, value in values.items():
            CONF.set_override(name, value, group=group)


def serve(api_version=None):
    """Answer commands until the input ends."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO)
    answers, sys.stdout = sys.stdout, sys.stderr
    controller = Controller(json.loads(sys.stdin.readline()), api_version)
    print(json.dumps({"result": "ready"}), file=answers, flush=True)
    for line in sys.stdin:
        name, parameters = json.loads(line)
        try:
            answer = {"result": getattr(controller, name)(**parameters)}
        except Exception as error:
            traceback.print_exc()
            answer = {"error": type(error).__name__, "message": str(error)}
        print(json.dumps(answer), file=answers, flush=True)
