"""The receipts tree against a trie library, and every block of the history against its own header."""

from __future__ import annotations

from typing import Any

import pytest
import rlp
from trie import HexaryTrie

from deltaproof.auditor.facts.receipts import _receipt, fetch_proofs, header_hash, may_log, receipts_root
from tests.worlds.roles import RoleWorld


def log(number: int) -> dict[str, Any]:
    topics = ["0x" + "22" * 32] * (number % 4)
    return {"address": "0x" + "11" * 20, "topics": topics, "data": "0x" + "33" * number}


def receipt(number: int) -> dict[str, Any]:
    return {
        "type": hex(number % 3),
        "status": "0x1",
        "cumulativeGasUsed": hex(21_000 * (number + 1)),
        "logsBloom": "0x" + "00" * 256,
        "logs": [
            {"address": "0x" + "11" * 20, "topics": ["0x" + "22" * 32] * (number % 4), "data": "0x" + "33" * number}
        ],
    }


@pytest.mark.parametrize("count", [1, 2, 3, 15, 16, 17, 127, 128, 129, 256, 300])
def test_receipts_root_any_number_as_library(count: int) -> None:
    receipts = [receipt(number) for number in range(count)]
    oracle = HexaryTrie({})
    for position, one in enumerate(receipts):
        oracle[rlp.encode(position)] = _receipt(one)
    assert receipts_root(receipts) == "0x" + oracle.root_hash.hex()


def test_block_proofs_whole_history_holds(world: RoleWorld) -> None:
    head = int(world.raw("eth_blockNumber"), 16)
    contract = world.gateway.tasks.address
    for proof in fetch_proofs(world.rpc, range(head + 1)):
        assert proof.problem() is None
        assert header_hash(proof.header) == proof.claimed_hash
        if proof.logs_of(frozenset([contract.lower()])):
            assert may_log(str(proof.header["logsBloom"]), contract)
