"""Compile ``contracts/**/*.sol`` into ``deltaproof/chain/artifacts/<Contract>.json``.

The product talks to the chain through web3.py and needs no Solidity tool at run time: it reads these files. Compiler
settings come from ``brownie-config.yaml``, so that tests, deployments and the product agree on the bytecode.

Each file holds ``contractName``, ``sourcePath``, ``abi``, ``bytecode`` and ``deployedBytecode`` (0x-prefixed hex,
``0x`` for interfaces and abstract contracts), ``immutables`` (by name, the byte offsets in ``deployedBytecode`` at
which a constructor writes the value's 32 bytes), ``linkReferences`` and ``sourceHash``: the SHA-256 of the compiler's
metadata, which covers the settings and every source the contract was made from.

Nothing is done when sources, settings and compiler are those of the last run.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCES = REPOSITORY / "contracts"
ARTIFACTS = REPOSITORY / "deltaproof" / "chain" / "artifacts"
COMPILER = REPOSITORY / "scripts" / "solc" / "solc-v0.8.37"
STAMP = REPOSITORY / "build" / "stamps" / "contracts.sha256"
CODE_SIZE_LIMIT_BYTES = 24_576  # EIP-170


def main() -> int:
    """Compile if anything changed; exit status 1 with the compiler's words if it does not compile."""
    request = standard_input()
    digest = hashlib.sha256(json.dumps(request, sort_keys=True).encode() + dependencies()).hexdigest()
    if STAMP.is_file() and STAMP.read_text() == digest and any(ARTIFACTS.glob("*.json")):
        return 0
    print("[5/5] contracts")
    output = run_compiler(request)
    errors = [error for error in output.get("errors", []) if error["severity"] == "error"]
    for error in output.get("errors", []):
        print(error["formattedMessage"], file=sys.stderr)
    if errors:
        return 1
    artifacts = collect(output)
    too_large = {name: size for name, a in artifacts.items() if (size := code_size(a)) > CODE_SIZE_LIMIT_BYTES}
    if too_large:
        print(f"over the {CODE_SIZE_LIMIT_BYTES} bytes of EIP-170: {too_large}", file=sys.stderr)
        return 1
    write(artifacts)
    STAMP.parent.mkdir(parents=True, exist_ok=True)
    STAMP.write_text(digest)
    print(f"  {len(artifacts)} contracts compiled into {ARTIFACTS.relative_to(REPOSITORY)}")
    return 0


def standard_input() -> dict[str, Any]:
    """The compiler's standard JSON input for all our sources."""
    config = yaml.safe_load((REPOSITORY / "brownie-config.yaml").read_text())["compiler"]
    sources = {
        str(path.relative_to(REPOSITORY)): {"content": path.read_text()} for path in sorted(SOURCES.rglob("*.sol"))
    }
    if not sources:
        raise SystemExit(f"no Solidity source under {SOURCES.relative_to(REPOSITORY)}/")
    return {
        "language": "Solidity",
        "sources": sources,
        "settings": {
            "remappings": config["solc"]["remappings"],
            "optimizer": config["solc"]["optimizer"],
            "viaIR": config["solc"].get("viaIR", False),
            "evmVersion": config["evm_version"],
            "outputSelection": {
                "*": {"": ["ast"],
                      "*": ["abi", "metadata", "evm.bytecode.object", "evm.bytecode.linkReferences",
                            "evm.deployedBytecode.object", "evm.deployedBytecode.immutableReferences"]}
            },
        },
    }  # fmt: skip


def dependencies() -> bytes:
    """What the result depends on besides our sources: the lock file fixes the compiler and OpenZeppelin."""
    return (REPOSITORY / "package-lock.json").read_bytes() + COMPILER.with_name("solc.js").read_bytes()


def run_compiler(request: dict[str, Any]) -> dict[str, Any]:
    """The compiler's standard JSON output; raises ``CalledProcessError`` if it does not run at all."""
    finished = subprocess.run(
        [COMPILER, "--standard-json"],
        input=json.dumps(request),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=REPOSITORY,
    )
    output: dict[str, Any] = json.loads(finished.stdout)
    return output


def collect(output: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """One artifact per contract of ours (not of the libraries), by name; two contracts of one name are an error."""
    artifacts: dict[str, dict[str, Any]] = {}
    variables = immutable_names(output["sources"])
    for source, contracts in output["contracts"].items():
        if not source.startswith("contracts/"):
            continue
        for name, made in contracts.items():
            if name in artifacts:
                raise SystemExit(f"two contracts are called {name}: {artifacts[name]['sourcePath']} and {source}")
            artifacts[name] = {
                "contractName": name,
                "sourcePath": source,
                "sourceHash": hashlib.sha256(made["metadata"].encode()).hexdigest(),
                "abi": made["abi"],
                "bytecode": "0x" + made["evm"]["bytecode"]["object"],
                "deployedBytecode": "0x" + made["evm"]["deployedBytecode"]["object"],
                "immutables": immutables(made["evm"]["deployedBytecode"].get("immutableReferences", {}), variables),
                "linkReferences": made["evm"]["bytecode"]["linkReferences"],
            }
    return artifacts


def immutable_names(sources: dict[str, Any]) -> dict[str, str]:
    """Names of immutable variables by the compiler's number for them."""
    members = [
        member
        for source in sources.values()
        for node in source["ast"]["nodes"]
        if node["nodeType"] == "ContractDefinition"
        for member in node["nodes"]
    ]
    return {str(member["id"]): member["name"] for member in members if member.get("mutability") == "immutable"}


def immutables(references: dict[str, Any], names: dict[str, str]) -> dict[str, list[int]]:
    """Offsets of each immutable in a contract's code, by name."""
    found = {names[number]: sorted(place["start"] for place in places) for number, places in references.items()}
    if len(found) != len(references):
        raise SystemExit(f"two immutable variables of one contract have one name: {sorted(found)}")
    return dict(sorted(found.items()))


def code_size(artifact: dict[str, Any]) -> int:
    """Bytes of code on chain."""
    return (len(artifact["deployedBytecode"]) - 2) // 2


def write(artifacts: dict[str, dict[str, Any]]) -> None:
    """Replace the artifacts folder's content; each file appears whole or not at all."""
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    for stale in ARTIFACTS.glob("*.json"):
        if stale.stem not in artifacts:
            stale.unlink()
    for name, artifact in artifacts.items():
        unfinished = ARTIFACTS / f"{name}.json.part"
        unfinished.write_text(json.dumps(artifact, indent=1) + "\n")
        unfinished.replace(ARTIFACTS / f"{name}.json")


if __name__ == "__main__":
    sys.exit(main())
