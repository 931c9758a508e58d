"""Merkle tree in OpenZeppelin's form, over leaves that a contract pays on (`MerkleProof.sol`).

Leaves are hashed twice, so that no inner node (64 bytes) can pass for a leaf; pairs are hashed in sorted order, so that
a proof needs no directions. Pairs are joined level by level in leaf order; an odd last node moves up unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence

from eth_abi.abi import encode as abi_encode
from eth_utils.crypto import keccak

from deltaproof.protocol.rules import MAX_LEAF_PROOF
from deltaproof.protocol.types import ZERO_DIGEST, Digest32

__all__ = ["LeafTree", "double_hash", "verify_proof"]


def double_hash(types: Sequence[str], values: Sequence[object]) -> Digest32:
    """`keccak256(keccak256(abi.encode(values)))`."""
    return Digest32(keccak(keccak(abi_encode(tuple(types), tuple(values)))))


class LeafTree:
    """The tree over leaf digests in their order. Its root without leaves is zero."""

    def __init__(self, leaves: Sequence[Digest32]) -> None:
        self._levels: list[list[Digest32]] = [list(leaves)]
        while len(self._levels[-1]) > 1:
            level = self._levels[-1]
            joined = [_pair(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
            self._levels.append(joined + level[len(joined) * 2 :])

    @property
    def root(self) -> Digest32:
        """The root."""
        return self._levels[-1][0] if self._levels[0] else ZERO_DIGEST

    def proof(self, index: int) -> tuple[Digest32, ...]:
        """Siblings from the leaf up. Raises IndexError."""
        if not 0 <= index < len(self._levels[0]):
            raise IndexError(f"no leaf {index} among {len(self._levels[0])}")
        siblings = []
        for level in self._levels[:-1]:
            sibling = index ^ 1
            if sibling < len(level):
                siblings.append(level[sibling])
            index //= 2
        return tuple(siblings)


def verify_proof(root: Digest32, leaf: Digest32, proof: Sequence[Digest32]) -> bool:
    """Whether the leaf belongs to the tree of this root."""
    if len(proof) > MAX_LEAF_PROOF:
        return False
    node = leaf
    for sibling in proof:
        node = _pair(node, sibling)
    return node == root


def _pair(a: Digest32, b: Digest32) -> Digest32:
    return Digest32(keccak(a + b if a < b else b + a))
