"""Figures beside those of the calls: a quorum of ECDSA signatures, proofs and disputes in forge's tests, code sizes."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from eth_account import Account

from benchmarks.chain.gas.bench import Bench, person
from benchmarks.shared.places import ROOT
from deltaproof.protocol.types import address_bytes
from tests.worlds.simulated import digest

__all__ = ["code_sizes", "ecrecover_gas", "forge_gas"]

DISPUTES = {"DisputeCourt", "FaultProver", "Jury", "SettlementProver"}


def ecrecover_gas(bench: Bench, counts: Sequence[int]) -> dict[str, int]:
    """A quorum check with one ECDSA signature per signer, second call (nothing written for the first time)."""
    request = {
        "language": "Solidity",
        "sources": {"EcrecoverQuorum.sol": {"content": Path(__file__).with_name("EcrecoverQuorum.sol").read_text()}},
        "settings": {
            "optimizer": {"enabled": True, "runs": 200},
            "evmVersion": "paris",
            "outputSelection": {"*": {"*": ["abi", "evm.bytecode.object"]}},
        },
    }
    compiler = ROOT / "scripts/solc/solc-v0.8.37"
    done = subprocess.run([compiler, "--standard-json"], input=json.dumps(request), text=True, check=True, stdout=-1)
    made = json.loads(done.stdout)["contracts"]["EcrecoverQuorum.sol"]["EcrecoverQuorum"]
    factory = bench.web3.eth.contract(abi=made["abi"], bytecode=made["evm"]["bytecode"]["object"])
    receipt = bench.send(bench.sponsor, factory.constructor())
    contract = bench.web3.eth.contract(address=receipt["contractAddress"], abi=made["abi"])
    signers = sorted((person("signer", i) for i in range(max(counts))), key=lambda s: address_bytes(s.address))
    bench.send(bench.sponsor, contract.functions.enrol([s.address for s in signers]))
    message, gas = digest("message"), {}
    for count in counts:
        signatures = []
        for signer in signers[:count]:
            signed = Account.unsafe_sign_hash(message, signer.key)
            vs = signed.s | (signed.v - 27) << 255
            signatures.append((signed.r.to_bytes(32, "big"), vs.to_bytes(32, "big")))
        for _ in range(2):
            receipt = bench.send(bench.sponsor, contract.functions.check(message, signatures))
            gas[str(count)] = receipt["gasUsed"]
    return gas


def forge_gas() -> dict[str, dict[str, int]]:
    """Median and largest gas of each dispute's call in forge's tests (execution only, no call data)."""
    command = [ROOT / "node_modules/.bin/forge", "test", "--gas-report", "--json"]
    command += ["--match-contract", "FaultsTest|SettlementsTest|AttacksTest"]
    environment = os.environ | {"PATH": f"{ROOT / '.venv/bin'}{os.pathsep}{os.environ.get('PATH', '')}"}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, text=True, stdout=subprocess.PIPE)
    found: dict[str, dict[str, int]] = {}
    for report in json.loads(done.stdout[done.stdout.index("[") :]):
        name = report["contract"].split(":")[-1]
        if name not in DISPUTES:
            continue
        for signature, figures in report["functions"].items():
            if figures["max"] > 30_000:
                found[f"{name}.{signature.split('(')[0]}"] = {"median": figures["median"], "max": figures["max"]}
    return dict(sorted(found.items()))


def code_sizes() -> dict[str, int]:
    """Bytes of each contract's code on chain."""
    sizes = {}
    for file in (ROOT / "deltaproof/chain/artifacts").glob("*.json"):
        content = json.loads(file.read_text())
        sizes[content["contractName"]] = (len(content["deployedBytecode"]) - 2) // 2
    return sizes
