# SPDX-License-Identifier: Apache-2.0

from hypothesis import given
from hypothesis import strategies as st

from amphora.haproxy.log_lines import alerts

PAUSED = "[WARNING]  (71) : Paused frontend f."
TAKEN = "[ALERT]    (70) : Binding [haproxy.cfg:9] for frontend f: cannot bind socket"
REQUEST = "<134>Nov 23 18:00:00 haproxy[71]: 192.0.2.7:4711 f b/s 0/0/0/1/1 200 GET /?token=secret"


def test_alerts_are_found_between_the_warnings_of_many_frontends():
    many = "\n".join([PAUSED] * 500)
    assert alerts(f"{many}\n{TAKEN}\n{many}") == TAKEN


def test_warnings_are_told_where_there_is_no_alert():
    assert alerts(f"[NOTICE]   (70) : haproxy version is 2.6.12\n{PAUSED}\n") == PAUSED


def test_requests_are_never_told():
    assert alerts(f"{REQUEST}\n{TAKEN}\n{REQUEST}") == TAKEN
    assert alerts(f"{REQUEST}\n") == ""


@given(st.text() | st.lists(st.sampled_from([PAUSED, TAKEN, REQUEST, TAKEN * 9]), max_size=60).map("\n".join))
def test_it_is_short_whatever_was_printed(text):
    lines = alerts(text).splitlines()
    assert len(lines) <= 20
    assert all(line in text and len(line) <= 500 for line in lines)
