"""Ordered Merkle tree of Keccak-256 over leaves that a contract pays on. Twin: `contracts/libraries/LeafTree.sol`.

Leaves are hashed twice, so that no inner node (64 bytes) can pass for a leaf. Pairs are joined in order, level by
level; an odd last node moves up unchanged. A proof is checked for a position among a known number of leaves, so a tree
over n leaves answers for n positions and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence

from eth_abi.abi import encode as abi_encode
from eth_utils.crypto import keccak

from deltaproof.protocol.rules import MAX_LEAF_PROOF
from deltaproof.protocol.types import ZERO_DIGEST, Digest32

__all__ = ["LeafTree", "counted_root", "double_hash", "verify_proof"]


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

    def __len__(self) -> int:
        """Number of leaves."""
        return len(self._levels[0])

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


def verify_proof(root: Digest32, leaf: Digest32, index: int, count: int, proof: Sequence[Digest32]) -> bool:
    """Whether `leaf` is leaf `index` of the tree over `count` leaves with this root."""
    if not 0 <= index < count or len(proof) > MAX_LEAF_PROOF:
        return False
    node, last, siblings = leaf, count - 1, iter(proof)
    while last:
        # The last node of a level with an odd number of nodes has no sibling.
        if index & 1 or index < last:
            sibling = next(siblings, None)
            if sibling is None:
                return False
            node = _pair(sibling, node) if index & 1 else _pair(node, sibling)
        index, last = index >> 1, last >> 1
    return next(siblings, None) is None and node == root


def counted_root(root: Digest32, count: int) -> Digest32:
    """A root together with the number of its leaves: `keccak256(abi.encode(count, root))`."""
    return Digest32(keccak(abi_encode(("uint256", "bytes32"), (count, root))))


def _pair(left: Digest32, right: Digest32) -> Digest32:
    return Digest32(keccak(left + right))
