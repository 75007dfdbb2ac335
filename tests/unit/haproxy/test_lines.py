# SPDX-License-Identifier: Apache-2.0
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.errors import InvalidConfiguration
from amphora.haproxy.reading.lines import decode, quote, read_lines, split_words

LINE_TEXT = st.text(st.characters(blacklist_characters="\n\0", blacklist_categories=("Cs",)))
ODD_LINE_TEXT = st.text(st.sampled_from(list("ab \t\\\"'#$x41{}\r,é")))


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("", ()),
        ("   # only a comment", ()),
        ("\tbind  :80\v ssl\r", ("bind", ":80", "ssl")),
        ("a b#c d", ("a", "b")),
        (r"a\ b \#c \\d", ("a b", "#c", "\\d")),
        (r"\1 \z \$x", ("\\1", "\\z", "\\$x")),
        (r"x\41y \x41\x62", ("x\\41y", "Ab")),
        ("'a b'\"c d\"e f", ("a bc de", "f")),
        (r"'a\ b' 'it'\''s'", (r"a\ b", "it's")),
        (r'"a\"b" "a\'b" "\x2d"', ('a"b', "a'b", "-")),
        ("log-format %t\\ %{+Q}r", ("log-format", "%t %{+Q}r")),
        ("one '' \"\" two", ("one", "", "", "two")),
        ("open 'to the end", ("open", "to the end")),
        ('open "to the end', ("open", "to the end")),
        ("cut\rhere", ("cut",)),
        ("a\u00a0b\u2003c\x85d", ("a\u00a0b\u2003c\x85d",)),
    ],
)
def test_words_are_cut_as_haproxy_does(raw, words):
    assert split_words(raw)[0] == words


@pytest.mark.parametrize(
    ("raw", "positions"),
    [
        ('bind "${VIP}:80"', {1}),
        ('bind "$VIP:80" x', {1}),
        ("bind '$VIP:80'", set()),
        (r'bind "\$VIP:80"', set()),
        ("bind $VIP:80", set()),
        ('bind "a"b"$C"d "e"', {1}),
        ('bind "$" "$1"', set()),
    ],
)
def test_words_with_environment_variables_are_marked(raw, positions):
    assert split_words(raw)[1] == frozenset(positions)


@given(LINE_TEXT.filter(lambda text: not set(text) & set("\\\"'#\r")))
def test_without_special_characters_only_blanks_separate(text):
    expected = text
    for blank in "\t\v\f":
        expected = expected.replace(blank, " ")
    assert split_words(text)[0] == tuple(word for word in expected.split(" ") if word)


@given(ODD_LINE_TEXT)
def test_odd_text_never_raises_and_never_invents_characters(text):
    words, variables = split_words(text)
    assert variables <= set(range(len(words)))
    assert sum(map(len, words)) <= len(text)


@given(st.lists(LINE_TEXT, min_size=1))
def test_quoted_words_come_back_unchanged(words):
    # A carriage return cannot be quoted: it ends the line for haproxy.
    words = [word.replace("\r", "") for word in words]
    assert split_words(" ".join(map(quote, words)))[0] == tuple(words)


def test_plain_words_are_not_quoted():
    assert quote("/var/lib/octavia/1b-0.sock,x") == "/var/lib/octavia/1b-0.sock,x"


def test_lines_are_numbered_from_one_and_empty_ones_left_out():
    lines = list(read_lines("\n# x\nglobal\n\n  daemon # y"))
    assert [(line.number, line.words) for line in lines] == [(3, ("global",)), (5, ("daemon",))]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"global\nfrontend caf\xe9\n", "line 2: not UTF-8 text (byte 0xe9 at offset 19)"),
        (b"global\n\n\0", "line 3: NUL byte"),
    ],
)
def test_bytes_that_haproxy_would_read_otherwise_are_refused(data, words):
    with pytest.raises(InvalidConfiguration) as refusal:
        decode(data)
    assert refusal.value.details == words


@given(st.binary())
def test_decoding_refuses_or_is_exact(data):
    readable = b"\0" not in data and data.decode("utf-8", "replace").encode() == data
    with contextlib.nullcontext() if readable else pytest.raises(InvalidConfiguration, match="^line "):
        assert decode(data).encode() == data
