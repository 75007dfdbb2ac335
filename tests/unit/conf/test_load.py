# SPDX-License-Identifier: Apache-2.0
import traceback

import pytest

from amphora.conf import load
from amphora.errors import ConfigurationError

# What a controller of today writes, its quirks included: an empty first line, and options in groups
# or by names that this agent does not read.
FROM_CONTROLLER = """
[DEFAULT]
debug = False
use_syslog = True
syslog_log_facility = LOG_LOCAL1

[haproxy_amphora]
base_cert_dir = /var/lib/octavia/certs
base_path = /var/lib/octavia
bind_host = ::
bind_port = 9443
haproxy_cmd = /usr/sbin/haproxy
user_log_facility = 0
administrative_log_facility = 1

[health_manager]
controller_ip_port_list = 192.0.2.10:5555, [2001:db8::1]:5555
heartbeat_interval = 10
heartbeat_key = insecure

[amphora_agent]
agent_server_ca = /etc/octavia/certs/client_ca.pem
agent_server_cert = /etc/octavia/certs/server.pem
agent_request_read_timeout = 180
amphora_id = 0d1c1f05-5cf7-4c5c-8b6c-5b1f9d3a2d42
amphora_udp_driver = keepalived_lvs
agent_tls_protocol = TLSv1.2

[controller_worker]
loadbalancer_topology = SINGLE
"""


@pytest.fixture
def read(tmp_path):
    path = tmp_path / "amphora-agent.conf"

    def read_text(text, *arguments):
        path.write_text(text)
        return load.load(["--config-file", str(path), *arguments], "1.2.3")

    read_text.path = path
    return read_text


def test_a_controllers_file_works_unchanged(read):
    conf = read(FROM_CONTROLLER)
    assert conf.haproxy_amphora.bind_port == 9443
    assert conf.health_manager.controller_ip_port_list == ["192.0.2.10:5555", "[2001:db8::1]:5555"]
    assert conf.amphora_agent.amphora_id.startswith("0d1c1f05")
    assert conf.drivers.process_manager == "auto"
    assert conf.drivers.cert_store == "tmpfs"
    assert conf.network.namespace == "amphora-haproxy"


def test_unknown_options_are_named_and_known_ones_are_not(read):
    conf = read(FROM_CONTROLLER)
    assert list(load.unknown_options(conf)) == [
        f"{read.path}: [amphora_agent] amphora_udp_driver is not known to this release and is ignored"
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[haproxy_amphora]\nbind_port = 99999", "[haproxy_amphora] bind_port: Should be less than"),
        ("[haproxy_amphora]\nbind_port = http", "[haproxy_amphora] bind_port: invalid literal"),
        (
            "[haproxy_amphora]\nbind_host = nowhere",
            "[haproxy_amphora] bind_host: nowhere is not IPv4 or IPv6",
        ),
        ("[amphora_agent]\nagent_tls_protocol = TLSv9", "[amphora_agent] agent_tls_protocol:"),
        (
            "[health_manager]\nheartbeat_interval = 0",
            "[health_manager] heartbeat_interval: Should be greater",
        ),
        ("[health_manager]\nheartbeat_key = a$b", "[health_manager] heartbeat_key:"),
        ("[network]\nnamespace = a/b", "[network] namespace:"),
        ("[controller_worker]\nloadbalancer_topology = X", "[controller_worker] loadbalancer_topology:"),
    ],
)
def test_a_wrong_value_is_one_sentence_with_file_group_and_option(read, text, sentence):
    with pytest.raises(ConfigurationError) as caught:
        read(text)
    message = str(caught.value)
    assert message.startswith(f"{read.path}: {sentence}")
    assert "\n" not in message


KEY, INTERVAL = "[health_manager] heartbeat_key: ", "[health_manager] heartbeat_interval: "


@pytest.mark.parametrize(
    ("text", "begin", "end"),
    [
        ("heartbeat_key = a\n topSECRET$SECRET", f"{KEY}it refers by $", "(line 3)"),
        ("heartbeat_key = SECRET$heartbeat_key", f"{KEY}it refers by $", "(line 3)"),
        ("heartbeat_key topSECRET", "line 3 in [health_manager] cannot be read: No ':'", "in assignment"),
        ("= topSECRET", "line 3 in [health_manager] cannot be read: ", "Key cannot be empty"),
        ("[topSECRET", "line 3 in [health_manager] cannot be read: Invalid section", ""),
        ("\n SECRET = 1", "line 4 in [health_manager] cannot be read: ", "Unexpected continuation line"),
        (
            "heartbeat_interval = $heartbeat_key\nheartbeat_key = topSECRET",
            INTERVAL,
            "its value cannot be used (line 3)",
        ),
        ("heartbeat_interval = $heartbeat_key\nheartbeat_key = $SECRET", INTERVAL, "(line 3)"),
    ],
)
def test_what_may_be_secret_is_told_by_its_place_only(read, text, begin, end):
    with pytest.raises(ConfigurationError) as caught:
        read(f"# of a controller\n[health_manager]\n{text}\n")
    assert str(caught.value).startswith(f"{read.path}: {begin}")
    assert str(caught.value).endswith(end)
    assert "SECRET" not in "".join(traceback.format_exception(caught.value))


def test_a_value_that_the_command_line_could_have_is_no_end_of_the_agent(read):
    with pytest.raises(ConfigurationError, match="cannot be used"):
        read("[DEFAULT]\ndebug = perhaps\n")


def test_a_file_that_is_no_text_is_one_sentence(read):
    read.path.write_bytes(b"[health_manager]\nheartbeat_key = \xff\n")
    with pytest.raises(ConfigurationError, match="not text in UTF-8"):
        load.load(["--config-file", str(read.path)], "1")


@pytest.mark.parametrize("text", ["no section\n", "[broken\n", "[a]\nno value\n"])
def test_a_file_that_is_no_configuration_is_one_sentence(read, text):
    with pytest.raises(ConfigurationError) as caught:
        read(text)
    assert str(read.path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match="none.conf"):
        load.load(["--config-file", str(tmp_path / "none.conf")], "1")


def test_version_is_printed(capsys):
    with pytest.raises(SystemExit) as caught:
        load.load(["--version"], "1.2.3")
    assert caught.value.code == 0
    assert "1.2.3" in capsys.readouterr().out


def test_changes_that_need_a_restart_are_told_apart(read):
    old = read(FROM_CONTROLLER)
    new = read(FROM_CONTROLLER.replace("9443", "9444").replace("server.pem", "other.pem"))
    assert list(load.changes_needing_restart(old, new)) == ["[haproxy_amphora] bind_port"]


@pytest.mark.parametrize("form", ["{option} {path}", "{option}={path}", "{option} {other} {option}={path}"])
def test_another_file_is_read_in_place_of_the_one_in_use(tmp_path, form):
    path, other, new = (tmp_path / name for name in ("a.conf", "b.conf", "a.conf.new"))
    path.write_text("[haproxy_amphora]\nbind_port = 1\n")
    other.write_text("[haproxy_amphora]\nbind_host = 127.0.0.1\n")
    new.write_text("[haproxy_amphora]\nbind_port = 2\n")
    arguments = form.format(option="--config-file", path=path, other=other).split()
    assert load.load_instead(arguments, "1", path, new).haproxy_amphora.bind_port == 2
    assert load.load(arguments, "1").haproxy_amphora.bind_port == 1


def test_a_file_that_is_not_in_use_is_not_replaced(read, tmp_path):
    read("")
    assert load.file_in_use(read("")) == read.path
    with pytest.raises(ConfigurationError, match="not named on the command line"):
        load.load_instead(["--config-file", str(read.path)], "1", tmp_path / "other.conf", read.path)


def test_an_agent_without_a_file_has_none_in_use():
    assert load.file_in_use(load.load([], "1")) is None
