"""The shared vectors are what the code makes now, and other code paths read them back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deltaproof.errors import CryptoError
from deltaproof.protocol.commit import bls
from deltaproof.protocol.types import Address, digest32
from deltaproof.protocol.wire.leaftree import double_hash, verify_proof
from tests.vectors import generate

LEAF_TYPES = ("address", "uint8", "int64", "uint64", "uint16", "uint128")
FOLDER = Path(generate.__file__).parent


def vectors(name: str) -> Any:
    return json.loads((FOLDER / name).read_text("utf-8"))


@pytest.mark.parametrize("name", sorted(generate.VECTORS))
def test_vectors_are_up_to_date(name: str) -> None:
    committed = (FOLDER / name).read_text("utf-8")
    assert committed == generate.render(generate.VECTORS[name]()), "run: python tests/vectors/generate.py"


def test_settlement_proofs_verify_only_in_their_place() -> None:
    for case in vectors("settlement.json")["cases"]:
        root = digest32(case["leavesRoot"])
        leaves = [double_hash(LEAF_TYPES, leaf_values(leaf)) for leaf in case["leaves"]]
        for i, proof in enumerate(case["proofs"]):
            siblings = [digest32(sibling) for sibling in proof]
            held = [verify_proof(root, leaf, i, len(leaves), siblings) for leaf in leaves]
            assert held == [j == i for j in range(len(leaves))]


def test_bls_aggregates_verify_and_others_do_not() -> None:
    content = vectors("bls.json")
    message, domain = digest32(content["message"]), digest32(content["settlementDomain"])
    case = content["aggregates"][2]
    key = bls.PublicKey.from_wire(numbers(case["keyG1"]), numbers(case["keyG2"]))
    signature = bls.Signature.from_wire(numbers(case["signature"]))
    assert key.is_consistent()
    assert bls.verify(key, domain, message, signature)
    assert not bls.verify(key, digest32(content["possessionDomain"]), message, signature)
    other = bls.Signature.from_wire(numbers(content["aggregates"][1]["signature"]))
    assert not bls.verify(key, domain, message, other)


def test_bls_possession_belongs_to_one_owner() -> None:
    entry = vectors("bls.json")["keys"][0]
    key = bls.PublicKey.from_wire(numbers(entry["g1"]), numbers(entry["g2"]))
    proof = bls.Signature.from_wire(numbers(entry["possession"]))
    assert bls.verify_possession(key, 31337, Address(entry["registry"]), Address(entry["owner"]), proof)
    assert not bls.verify_possession(key, 31337, Address(entry["registry"]), Address(entry["registry"]), proof)


def test_bls_invalid_points_are_refused_for_their_reason() -> None:
    content = vectors("bls.json")
    valid = content["keys"][0]
    for entry in content["invalidG2"]:
        with pytest.raises(CryptoError, match=reason(entry["name"])):
            bls.PublicKey.from_wire(numbers(valid["g1"]), numbers(entry["point"]))
    for entry in content["invalidG1"]:
        with pytest.raises(CryptoError, match=reason(entry["name"])):
            bls.PublicKey.from_wire(numbers(entry["point"]), numbers(valid["g2"]))
        with pytest.raises(CryptoError, match=reason(entry["name"])):
            bls.Signature.from_wire(numbers(entry["point"]))


def leaf_values(leaf: dict[str, Any]) -> tuple[Any, ...]:
    return (
        leaf["trainer"],
        leaf["verdict"],
        int(leaf["scoreNanos"]),
        int(leaf["stderrNanos"]),
        leaf["discountBps"],
        int(leaf["payout"]),
    )


def numbers(texts: list[str]) -> tuple[int, ...]:
    return tuple(int(text) for text in texts)


def reason(name: str) -> str:
    return "below the field modulus" if name == "coordinate not reduced" else name
