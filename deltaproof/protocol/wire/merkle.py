"""The ordered SHA-256 Merkle tree that everything about training is committed with (docs/protocol.md, section 1).

A tree over n leaves has depth ceil(log2(n)); missing leaves are 32 zero bytes. Leaves of raw data, inner nodes, step
records and data rows are hashed under different prefixes, so no node can be passed off as another kind (second
preimages), and `verify` insists on the depth that the number of leaves implies, so no other tree shape can be shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256

from deltaproof.protocol.rules import MAX_TREE_LEAVES
from deltaproof.protocol.types import ZERO_DIGEST, Digest32

__all__ = [
    "DIGEST_BYTES",
    "depth",
    "leaf",
    "levels",
    "node",
    "path_root",
    "proof",
    "proof_from_levels",
    "record_leaf",
    "root",
    "row_leaf",
    "verify",
]

DIGEST_BYTES = 32
"""Length of a SHA-256 digest."""

_LEAF, _NODE, _RECORD, _ROW = b"\x00", b"\x01", b"\x02", b"\x03"


def leaf(data: bytes) -> Digest32:
    """Digest of a raw-data leaf."""
    return Digest32(sha256(_LEAF + data).digest())


def record_leaf(record: bytes) -> Digest32:
    """Digest of an encoded step record, a leaf of the transcript tree."""
    return Digest32(sha256(_RECORD + record).digest())


def row_leaf(salt: bytes, row: bytes) -> Digest32:
    """Digest of a salted data row, a leaf of the data tree. `salt` has 32 bytes."""
    if len(salt) != DIGEST_BYTES:
        raise ValueError(f"a row salt has {DIGEST_BYTES} bytes, not {len(salt)}")
    return Digest32(sha256(_ROW + salt + row).digest())


def node(left: bytes, right: bytes) -> Digest32:
    """Digest of an inner node."""
    return Digest32(sha256(_NODE + left + right).digest())


def depth(count: int) -> int:
    """Depth of a tree over `count` leaves: ceil(log2(count)). Raises ValueError outside 1..2^32."""
    if not 1 <= count <= MAX_TREE_LEAVES:
        raise ValueError(f"a tree has 1 to 2^32 leaves, not {count}")
    return (count - 1).bit_length()


def root(leaves: Iterable[bytes]) -> Digest32:
    """Root over leaf digests in order. Raises ValueError without leaves."""
    return Digest32(levels(list(leaves))[-1][0])


def proof(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Siblings of leaf `index`, from the leaf up."""
    return proof_from_levels(levels(leaves), index)


def proof_from_levels(tree: Sequence[Sequence[bytes]], index: int) -> tuple[bytes, ...]:
    """Siblings of leaf `index` in a tree that `levels` built, for callers that need many proofs."""
    if not 0 <= index < len(tree[0]):
        raise ValueError(f"no leaf {index} among {len(tree[0])}")
    siblings = []
    for height, level in enumerate(tree[:-1]):
        sibling = (index >> height) ^ 1
        siblings.append(level[sibling] if sibling < len(level) else _EMPTY[height])
    return tuple(siblings)


def path_root(leaf_digest: bytes, index: int, siblings: Sequence[bytes]) -> Digest32:
    """The root that `leaf_digest` at `index` and its siblings lead to; bit j of the index: right child at level j."""
    digest = Digest32(leaf_digest)
    for height, sibling in enumerate(siblings):
        digest = node(sibling, digest) if index >> height & 1 else node(digest, sibling)
    return digest


def verify(expected_root: bytes, leaf_digest: bytes, index: int, count: int, siblings: Sequence[bytes]) -> bool:
    """Whether `leaf_digest` is leaf `index` of the tree over `count` leaves with this root."""
    return (
        0 <= index < count
        and len(siblings) == depth(count)
        and all(len(sibling) == DIGEST_BYTES for sibling in siblings)
        and path_root(leaf_digest, index, siblings) == expected_root
    )


def levels(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """All levels, leaves first and the root alone in the last, without the empty subtrees on the right."""
    result: list[list[bytes]] = [list(leaves)]
    for height in range(depth(len(leaves))):
        level = result[-1]
        if len(level) % 2:
            level = [*level, _EMPTY[height]]
        result.append([node(left, right) for left, right in zip(level[::2], level[1::2], strict=True)])
    return result


def _empty_subtrees() -> tuple[bytes, ...]:
    subtrees: list[bytes] = [ZERO_DIGEST]
    for _ in range(MAX_TREE_LEAVES.bit_length()):
        subtrees.append(node(subtrees[-1], subtrees[-1]))
    return tuple(subtrees)


_EMPTY = _empty_subtrees()
"""Root of a subtree without leaves, by height."""
