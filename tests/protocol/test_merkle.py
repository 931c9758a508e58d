"""Ordered Merkle trees: shapes, proofs, and the second preimages that prefixes and depths rule out."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltaproof.protocol.wire import merkle

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "state_opening.json").read_text("utf-8"))


def leaves_of(count: int) -> list[bytes]:
    return [merkle.leaf(str(i).encode()) for i in range(count)]


def naive_root(leaves: list[bytes]) -> bytes:
    """The specification, written as plainly as possible."""
    width = 1
    while width < len(leaves):
        width *= 2
    level = leaves + [bytes(32)] * (width - len(leaves))
    while len(level) > 1:
        level = [hashlib.sha256(b"\x01" + level[i] + level[i + 1]).digest() for i in range(0, len(level), 2)]
    return level[0]


@given(st.integers(1, 70))
def test_root_matches_the_plain_definition(count: int) -> None:
    assert merkle.root(leaves_of(count)) == naive_root(leaves_of(count))


@given(st.integers(1, 70), st.data())
def test_proof_verifies_at_its_index_only(count: int, data: st.DataObject) -> None:
    leaves, index = leaves_of(count), data.draw(st.integers(0, count - 1))
    root, proof = merkle.root(leaves), merkle.proof(leaves, index)
    assert len(proof) == merkle.depth(count)
    assert merkle.verify(root, leaves[index], index, count, proof)
    for other in range(count):
        if other != index:
            assert not merkle.verify(root, leaves[index], other, count, proof)


@given(st.integers(2, 40), st.data())
def test_flipped_bit_in_a_proof_is_refused(count: int, data: st.DataObject) -> None:
    leaves, index = leaves_of(count), data.draw(st.integers(0, count - 1))
    proof = list(merkle.proof(leaves, index))
    level, bit = data.draw(st.integers(0, len(proof) - 1)), data.draw(st.integers(0, 255))
    changed = bytearray(proof[level])
    changed[bit // 8] ^= 1 << bit % 8
    proof[level] = bytes(changed)
    assert not merkle.verify(merkle.root(leaves), leaves[index], index, count, proof)


def test_inner_node_is_no_leaf() -> None:
    """Second preimage: an inner node shown as a leaf of a smaller tree fails on depth, its preimage on the prefix."""
    leaves = leaves_of(4)
    root = merkle.root(leaves)
    left, right = merkle.node(*leaves[:2]), merkle.node(*leaves[2:])
    assert merkle.verify(root, left, 0, 2, (right,)), "the same hash, were the count not known from context"
    assert not merkle.verify(root, left, 0, 4, (right,))
    assert merkle.leaf(leaves[0] + leaves[1]) != left
    assert merkle.record_leaf(b"x") != merkle.leaf(b"x") != merkle.row_leaf(bytes(32), b"x")


@pytest.mark.parametrize("count", [0, -1, 2**32 + 1])
def test_depth_refuses_impossible_counts(count: int) -> None:
    with pytest.raises(ValueError, match="leaves"):
        merkle.depth(count)


def test_short_salt_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        merkle.row_leaf(b"short", b"row")


@pytest.mark.parametrize("tree", VECTORS["trees"], ids=lambda tree: len(tree["leaves"]))
def test_vectors(tree: dict[str, object]) -> None:
    leaves = [bytes.fromhex(text[2:]) for text in tree["leaves"]]
    proof = tuple(bytes.fromhex(text[2:]) for text in tree["proof"])
    assert merkle.root(leaves).hex() == tree["root"][2:]
    assert merkle.proof(leaves, tree["index"]) == proof
