"""The harness contract on a private Anvil, called with plain words: encoding tuples takes longer than the chain."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from typing import Any

from eth_utils.crypto import keccak

from benchmarks.chain.gas.bench import Bench
from benchmarks.shared.places import ROOT

__all__ = ["Harness", "words"]

SOURCE = "benchmarks/chain/differential/Differential.sol"
PAYOUTS = (
    "payouts((uint256,int64,uint64,uint16,uint16,uint16,bool)[],(address,uint8,int64,uint64,uint16,uint128)[],uint256)"
)
STEPS = "steps(uint8,uint256[11],uint256,uint256[4][])"


class Harness:
    """Differential.sol, compiled with the contracts' settings."""

    def __init__(self, bench: Bench) -> None:
        """Compiles and deploys it."""
        settings = {
            "optimizer": {"enabled": True, "runs": 200},
            "evmVersion": "paris",
            "remappings": ["@openzeppelin/contracts=node_modules/@openzeppelin/contracts"],
            "outputSelection": {SOURCE: {"Differential": ["evm.bytecode.object"]}},
        }
        content = (ROOT / SOURCE).read_text()
        request = {"language": "Solidity", "sources": {SOURCE: {"content": content}}, "settings": settings}
        command = [ROOT / "scripts/solc/solc-v0.8.37", "--base-path", ".", "--standard-json"]
        done = subprocess.run(command, input=json.dumps(request), text=True, check=True, stdout=-1, cwd=ROOT)
        code = json.loads(done.stdout)["contracts"][SOURCE]["Differential"]["evm"]["bytecode"]["object"]
        receipt = bench.send(bench.sponsor, bench.web3.eth.contract(abi=[], bytecode=code).constructor())
        self._web3, self._place = bench.web3, receipt["contractAddress"]

    def payouts(self, terms: bytes, leaves: bytes, cases: int, each: int) -> list[int]:
        """Payouts of `cases` rounds of `each` leaves; both lists as words."""
        second = 0x60 + 0x20 + len(terms)
        data = words([0x60, second, each, cases]) + terms + words([cases * each]) + leaves
        return self._numbers(PAYOUTS, data)

    def steps(self, optimizer: int, constants: Iterable[int], scale: int, elements: bytes) -> list[int]:
        """Theta, m and v of each element after a step, one after the other."""
        head = words([optimizer, *constants, scale, 14 * 0x20, len(elements) // 0x80])
        return self._numbers(STEPS, head + elements)

    def _numbers(self, signature: str, arguments: bytes) -> list[int]:
        data = "0x" + (keccak(text=signature)[:4] + arguments).hex()
        call: Any = {"to": self._place, "data": data, "gas": 29_000_000}
        answer = bytes(self._web3.eth.call(call))
        return [int.from_bytes(answer[i : i + 32], "big") for i in range(64, len(answer), 32)]


def words(values: Iterable[int]) -> bytes:
    """Integers as 32 bytes each, negative ones in two's complement."""
    return b"".join((value & (2**256 - 1)).to_bytes(32, "big") for value in values)
