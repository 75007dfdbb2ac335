# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.keepalived.state import Notification, VrrpState, parse_notifications

NAME = st.text(st.characters(exclude_characters='"\n', exclude_categories=("Cs",)), max_size=12)
WRITTEN = {
    VrrpState.MASTER: "MASTER",
    VrrpState.BACKUP: "BACKUP",
    VrrpState.FAULT: "FAULT",
    VrrpState.GONE: "STOP",
}
NOTIFICATION = st.builds(Notification, NAME, st.sampled_from(VrrpState))


@given(st.lists(NOTIFICATION), st.data())
def test_lines_are_read_however_they_arrive(told, data):
    text = "".join(f'INSTANCE "{each.instance}" {WRITTEN[each.state]} 100\n' for each in told).encode()
    cut = data.draw(st.integers(0, len(text)))
    first, rest = parse_notifications(text[:cut])
    second, end = parse_notifications(rest + text[cut:])
    assert first + second == told
    assert end == b""


@given(st.binary())
def test_odd_bytes_never_raise(data):
    _, rest = parse_notifications(data)
    assert len(rest) <= 1024


@pytest.mark.parametrize(
    ("line", "state"),
    [
        (b'INSTANCE "v1" MASTER_RX_LOWER_PRI 100', VrrpState.MASTER),
        (b'INSTANCE "v1" DELETED 100', VrrpState.GONE),
        (b'INSTANCE "v1" FAULT', VrrpState.FAULT),
        (b'GROUP "v1" MASTER 0', None),
        (b'INSTANCE "v1" DANCING 100', None),
        (b"INSTANCE v1 MASTER 100", None),
    ],
)
def test_other_lines(line, state):
    expected = [] if state is None else [Notification("v1", state)]
    assert parse_notifications(line + b"\n") == (expected, b"")


def test_a_line_without_an_end_is_not_kept_for_ever():
    assert parse_notifications(b"x" * 2000) == ([], b"")
