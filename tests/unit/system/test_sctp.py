# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.cmd import health_checker
from amphora.errors import InvalidInput
from amphora.system.sctp import chunk_for, crc32c, packet, probe

PORTS, TAGS = st.integers(0, 65535), st.integers(0, 2**32 - 1)


def test_the_checksum_of_the_standards_examples():
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA


@given(PORTS, PORTS, TAGS, st.binary(min_size=4, max_size=40))
def test_a_packet_is_taken_by_whom_it_is_for(source, destination, tag, chunk):
    data = packet(source, destination, tag, chunk)
    assert chunk_for(data, source, destination, tag) == chunk
    assert chunk_for(data, source, destination, tag ^ 1) is None
    assert chunk_for(data[:-1] + bytes([data[-1] ^ 1]), source, destination, tag) is None


@given(st.binary(max_size=40))
def test_anything_else_is_no_packet(data):
    assert chunk_for(data, 1, 2, 3) is None


def test_an_address_that_is_none():
    with pytest.raises(InvalidInput):
        probe("member.example", 9, 0.1)


@pytest.mark.parametrize(
    "words",
    [[], ["sctp"], ["tcp", "127.0.0.1", "9"], ["sctp", "x", "9"], ["sctp", "-t"], ["sctp", "::1", "x"]],
)
def test_a_check_that_cannot_be_made_does_not_pass(words, capsys):
    assert health_checker.main(words) == 1
    assert capsys.readouterr().out
