"""Proof that a block's events are what a node says: header hash, receipts tree, logs.

A node that hides, doubles or alters an event would have to break Keccak: the logs are in the receipts, the receipts
under the header's receipts root (EIP-2718 envelopes in a Merkle-Patricia trie), the header under the block's hash, and
the hash is what every other node knows the block by (`--witness` compares with another endpoint).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import rlp
from eth_utils.crypto import keccak

from deltaproof.auditor.index.rpc import Rpc
from deltaproof.errors import ChainError, EncodingError

__all__ = ["BlockProof", "fetch_proofs", "header_hash", "header_problem", "may_log", "receipts_root"]

_HASHES = ("parentHash", "sha3Uncles", "miner", "stateRoot", "transactionsRoot", "receiptsRoot", "logsBloom")
_NUMBERS = ("difficulty", "number", "gasLimit", "gasUsed", "timestamp")
_LATER = {
    "baseFeePerGas": True,  # EIP-1559
    "withdrawalsRoot": False,  # EIP-4895
    "blobGasUsed": True,  # EIP-4844
    "excessBlobGas": True,
    "parentBeaconBlockRoot": False,  # EIP-4788
    "requestsHash": False,  # EIP-7685
}
"""Header fields that forks added, in order, and whether they are numbers."""


@dataclass(frozen=True)
class BlockProof:
    """A header and all receipts of its block, as a node gave them."""

    header: Mapping[str, Any]
    receipts: Sequence[Mapping[str, Any]]

    @property
    def claimed_hash(self) -> str:
        """Hash that the endpoint says the block has, 0x-prefixed; the proof has to lead to it."""
        return str(self.header["hash"])

    def problem(self) -> str | None:
        """Why header and receipts do not prove the block's logs; None if they do."""
        try:
            computed = header_hash(self.header)
            if computed != self.claimed_hash:
                return f"the header hashes to {computed}, not to {self.claimed_hash}"
            root = receipts_root(self.receipts)
            if root != self.header["receiptsRoot"]:
                return f"the receipts lead to the root {root}, the header says {self.header['receiptsRoot']}"
        except (KeyError, TypeError, ValueError, EncodingError) as error:
            return f"malformed header or receipt: {error}"
        return None

    def logs_of(self, contracts: frozenset[str]) -> list[tuple[int, str, tuple[str, ...], str]]:
        """(log index, lower-case address, topics, data) of every log of these contracts (lower case).

        A log's index is its place among all logs of the block: the index that the endpoint names is under no hash.
        """
        logs = [log for receipt in self.receipts for log in receipt["logs"]]
        return [
            (position, log["address"].lower(), tuple(log["topics"]), log["data"])
            for position, log in enumerate(logs)
            if log["address"].lower() in contracts
        ]


def fetch_proofs(rpc: Rpc, numbers: Sequence[int]) -> list[BlockProof]:
    """Headers and receipts of blocks. Raises ChainError if the endpoint does not serve receipts of whole blocks."""
    calls: list[tuple[str, list[Any]]] = []
    for number in numbers:
        calls += [("eth_getBlockByNumber", [hex(number), False]), ("eth_getBlockReceipts", [hex(number)])]
    answers = rpc.batch(calls)
    proofs = []
    for number, header, receipts in zip(numbers, answers[::2], answers[1::2], strict=True):
        if header is None or receipts is None:
            raise ChainError(f"the endpoint has no block {number}")
        proofs.append(BlockProof(header, receipts))
    return proofs


def header_hash(header: Mapping[str, Any]) -> str:
    """`keccak256(rlp(header))` of a JSON-RPC block."""
    fields = [_bytes(header[name]) for name in _HASHES]
    fields += [_number(header[name]) for name in _NUMBERS]
    fields += [_bytes(header[name]) for name in ("extraData", "mixHash", "nonce")]
    later = [name for name in _LATER if header.get(name) is not None]
    if later != list(_LATER)[: len(later)]:
        raise EncodingError(f"header fields {', '.join(later)} belong to no fork")
    fields += [_number(header[name]) if _LATER[name] else _bytes(header[name]) for name in later]
    return "0x" + keccak(_rlp(fields)).hex()


def header_problem(header: Mapping[str, Any] | None, number: int) -> str | None:
    """Why this is not the header of the block of that number; None if it is, as far as it can say so itself."""
    if header is None:
        return f"the endpoint has no block {number}"
    try:
        computed, own = header_hash(header), int(header["number"], 16)
        if (computed, own) != (header["hash"], number):
            return f"block {number}: the header is of block {own}, hashes to {computed} and names {header['hash']}"
    except (KeyError, TypeError, ValueError, EncodingError) as error:
        return f"block {number}: malformed header: {error}"
    return None


def may_log(bloom: str, address: str) -> bool:
    """Whether a block with this bloom filter (Yellow Paper, section 4.3.1) may hold logs of the address."""
    bits = int(bloom, 16)
    digest = keccak(_bytes(address))
    return all(bits >> (int.from_bytes(digest[i : i + 2], "big") & 2047) & 1 for i in (0, 2, 4))


def receipts_root(receipts: Sequence[Mapping[str, Any]]) -> str:
    """Root of the Merkle-Patricia trie (Yellow Paper, appendix D) over a block's receipts, by RLP of their place."""
    leaves = {_nibbles(_rlp(position)): _receipt(receipt) for position, receipt in enumerate(receipts)}
    root = _node(sorted(leaves.items()), 0) if leaves else b""
    return "0x" + keccak(_rlp(root)).hex()


def _node(leaves: Sequence[tuple[bytes, bytes]], depth: int) -> list[Any]:
    """The node over leaves (nibbles, value) that share their first `depth` nibbles. Built whole, not leaf by leaf: an
    order of magnitude faster than a trie library's insertions. A key never ends inside another: RLP is prefix-free."""
    if len(leaves) == 1:
        key, value = leaves[0]
        return [_compact(key[depth:], leaf=True), value]
    first, last = leaves[0][0], leaves[-1][0]
    shared = depth
    while first[shared] == last[shared]:
        shared += 1
    if shared > depth:
        return [_compact(first[depth:shared], leaf=False), _reference(_node(leaves, shared))]
    branch: list[Any] = []
    for nibble in range(16):
        below = [leaf for leaf in leaves if leaf[0][depth] == nibble]
        branch.append(_reference(_node(below, depth + 1)) if below else b"")
    return [*branch, b""]


def _reference(node: list[Any]) -> Any:
    """A node shorter than a hash stands for itself."""
    encoded = _rlp(node)
    return keccak(encoded) if len(encoded) >= 32 else node


def _compact(nibbles: bytes, *, leaf: bool) -> bytes:
    """Hex-prefix encoding (appendix C)."""
    odd = len(nibbles) % 2
    padded = bytes([2 * leaf + odd]) + (b"" if odd else b"\x00") + nibbles
    return bytes(16 * high + low for high, low in zip(padded[::2], padded[1::2], strict=True))


def _nibbles(key: bytes) -> bytes:
    return bytes(nibble for byte in key for nibble in (byte >> 4, byte & 15))


def _rlp(value: Any) -> bytes:
    return bytes(rlp.encode(value, infer_serializer=isinstance(value, int)))


def _receipt(receipt: Mapping[str, Any]) -> bytes:
    logs = [
        [_bytes(log["address"]), [_bytes(topic) for topic in log["topics"]], _bytes(log["data"])]
        for log in receipt["logs"]
    ]
    body = _rlp([_number(receipt["status"]), _number(receipt["cumulativeGasUsed"]), _bytes(receipt["logsBloom"]), logs])
    kind = int(receipt.get("type", "0x0"), 16)
    return body if kind == 0 else bytes([kind]) + body


def _bytes(value: str) -> bytes:
    return bytes.fromhex(value[2:])


def _number(value: str) -> bytes:
    number = int(value, 16)
    return number.to_bytes((number.bit_length() + 7) // 8, "big")
