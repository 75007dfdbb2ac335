# SPDX-License-Identifier: Apache-2.0
"""Octavia's data models from the plain documents that tests send.

Runs in an interpreter with Octavia, never in that of the tests.
"""

from octavia.common import data_models
from octavia.network import data_models as network_models

_STATE = {"enabled": True, "provisioning_status": "ACTIVE", "operating_status": "ONLINE"}
_PROJECT = {"project_id": "70000000-0000-4000-8000-000000000001"}


def amphora(document):
    """A fresh object for each call, as a controller reads it from its database for each task."""
    return data_models.Amphora(**{"status": "ALLOCATED"} | document)


def load_balancer(document, amphorae):
    """The tree of one load balancer: its listeners, pools and members know each other."""
    vip = data_models.Vip(ip_address=document["vip"])
    # Only newer releases know of it, and only their driver asks.
    vip.vnic_type = document.get("vnic_type", "normal")
    balancer = data_models.LoadBalancer(
        **_STATE | _PROJECT | {key: document[key] for key in ("id", "topology")},
        vip=vip,
        amphorae=amphorae,
        additional_vips=[
            data_models.AdditionalVip(ip_address=address) for address in document.get("additional_vips", ())
        ],
        vrrp_group=_vrrp_group(document),
    )
    pools = {pool["id"]: _pool(pool, balancer) for pool in document.get("pools", ())}
    balancer.pools = list(pools.values())
    balancer.listeners = [_listener(each, balancer, pools) for each in document.get("listeners", ())]
    return balancer


def _vrrp_group(document):
    return data_models.VRRPGroup(
        load_balancer_id=document["id"],
        vrrp_group_name=document["id"].replace("-", ""),
        vrrp_auth_type="PASS",
        vrrp_auth_pass="1a2b3c4",
        advert_int=1,
    )


def _pool(document, balancer):
    document = dict(document)
    monitor = document.pop("health_monitor", None)
    persistence = document.pop("session_persistence", None)
    members = document.pop("members", ())
    defaults = {"lb_algorithm": "ROUND_ROBIN", "load_balancer": balancer, "tls_enabled": False}
    pool = data_models.Pool(**_STATE | _PROJECT | defaults | document)
    pool.members = [
        data_models.Member(**_STATE | _PROJECT | {"weight": 1, "backup": False, "pool": pool} | member)
        for member in members
    ]
    if monitor:
        pool.health_monitor = data_models.HealthMonitor(**_STATE | _PROJECT | {"pool": pool} | monitor)
    if persistence:
        pool.session_persistence = data_models.SessionPersistence(pool=pool, **persistence)
    return pool


def _listener(document, balancer, pools):
    document = dict(document)
    default = pools.get(document.pop("default_pool_id", None))
    policies = document.pop("l7policies", ())
    containers = document.pop("sni_containers", ())
    cidrs = document.pop("allowed_cidrs", ())
    listener = data_models.Listener(
        **_STATE | _PROJECT | {"peer_port": 1025, "connection_limit": -1} | document,
        load_balancer=balancer,
        default_pool=default,
        default_pool_id=default and default.id,
        sni_containers=[data_models.SNI(tls_container_id=each) for each in containers],
        allowed_cidrs=[data_models.ListenerCidr(document["id"], cidr) for cidr in cidrs],
    )
    listener.l7policies = [
        _policy(each, position, listener, pools) for position, each in enumerate(policies, 1)
    ]
    targets = [policy.redirect_pool for policy in listener.l7policies]
    listener.pools = list({pool.id: pool for pool in [default, *targets] if pool}.values())
    for pool in listener.pools:
        pool.listeners.append(listener)
    return listener


def _policy(document, position, listener, pools):
    document = dict(document)
    rules = document.pop("l7rules")
    policy = data_models.L7Policy(
        **_STATE | _PROJECT | document,
        position=position,
        listener=listener,
        redirect_pool=pools.get(document.get("redirect_pool_id")),
    )
    policy.l7rules = [data_models.L7Rule(**_STATE | _PROJECT | {"l7policy": policy} | rule) for rule in rules]
    return policy


def subnet(document):
    """A subnet with its routes as objects."""
    routes = [network_models.HostRoute(**route) for route in document.get("host_routes", ())]
    return network_models.Subnet(**document | {"host_routes": routes})


def port(document):
    """A port with its addresses; each address brings its subnet."""
    addresses = [
        network_models.FixedIP(ip_address=each["ip_address"], subnet=subnet(each["subnet"]))
        for each in document.get("fixed_ips", ())
    ]
    network = network_models.Network(mtu=document.get("mtu", 1500))
    known = {key: document[key] for key in ("id", "mac_address")}
    made = network_models.Port(**known, fixed_ips=addresses, network=network)
    made.vnic_type = "normal"
    return made


def vip_port(document):
    """The port of a VIP: the driver takes its network as the dictionary that its task hands over."""
    made = port(document)
    made.network = {"mtu": document.get("mtu", 1500)}
    return made


def additional_vips(documents):
    """What the driver is told of additional VIPs at the plug of their port."""
    return [
        network_models.AdditionalVipData(ip_address=each["ip_address"], subnet=subnet(each["subnet"]))
        for each in documents
    ]
