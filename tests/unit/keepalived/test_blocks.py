# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.keepalived.blocks import read_blocks

WORD = st.text(st.characters(categories=("Lu", "Ll", "Nd")), min_size=1, max_size=8)
STATEMENT = st.lists(WORD, min_size=1, max_size=4).map(tuple)
TREE = st.recursive(
    st.tuples(STATEMENT, st.just(())),
    lambda children: st.tuples(STATEMENT, st.lists(children, max_size=3).map(tuple)),
    max_leaves=12,
)
STYLE = st.sampled_from(["{", "{ # } ignored", "\n{\n", "  {   ! { too"])


def as_tree(block):
    return tuple((child.words, as_tree(child)) for child in block.children)


def render(tree, draw):
    lines = []
    for words, children in tree:
        quoted = [draw(st.sampled_from([word, f'"{word}"'])) for word in words]
        lines.append(" ".join(quoted))
        if children:
            lines[-1] += " " + draw(STYLE)
            lines.append(render(children, draw))
            lines.append("}")
    return "\n".join(lines)


@given(st.lists(TREE, max_size=4).map(tuple), st.data())
def test_what_was_written_is_read(tree, data):
    assert as_tree(read_blocks(render(tree, data.draw).encode())) == tree


@given(st.one_of(st.binary(), st.text(st.sampled_from(list('{}\n "!#$=ab1'))).map(str.encode)))
def test_odd_text_never_raises(data):
    read_blocks(data)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a b ! c", [("a", "b")]),
        ("a b#c", [("a", "b")]),
        ('a "b # c" d', [("a", "b # c", "d")]),
        ('a "b', [("a", "b")]),
        ("$X=5\n$Y = $X.1\na $X ${X}1 $Y $Z", [("a", "5", "51", "5.1", "$Z")]),
        ("} a", [("a",)]),
    ],
)
def test_lines_are_cut_as_keepalived_does(text, words):
    assert [child.words for child in read_blocks(text.encode()).children] == words


def test_the_last_value_of_a_keyword_counts():
    block = read_blocks(b"interface eth0\ninterface\ninterface eth1\n")
    assert block.value("interface") == "eth1"
    assert block.value("state") == ""
