"""Rounds of drand in Python: public rounds, another library's points, the network's clock, and documents of relays."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest

from deltaproof.errors import EncodingError
from deltaproof.protocol.commit.bls import SecretKey, Signature
from deltaproof.protocol.commit.drand import (
    EVMNET,
    DrandNetwork,
    map_to_point,
    randomness_of,
    round_message,
    sign_round,
    verify_round,
)
from tests.vectors.generate_drand import MAPPED_ELSEWHERE, PUBLIC_ROUNDS

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "drand.json").read_text())
INFO = {
    "public_key": "".join(f"{c:064x}" for c in EVMNET.public_key),
    "period": 3,
    "genesis_time": 1727521075,
    "genesis_seed": "cd7ad2f0e0cce5d8c288f2dd016ffe7bc8dc88dbb229b3da2b6ad736490dfed6",
    "chain_hash": "04f1e9062b8a81f848fded9c12306733282b2727ecced50032187751166ec8c3",
    "scheme": "bls-bn254-unchained-on-g1",
    "beacon_id": "evmnet",
}
"""As https://api.drand.sh/v2/beacons/evmnet/info answers."""


@pytest.mark.parametrize(("round_", "signature", "randomness"), PUBLIC_ROUNDS)
def test_public_round_verifies_and_gives_its_randomness(round_: int, signature: str, randomness: str) -> None:
    point = Signature.from_bytes(bytes.fromhex(signature))
    assert verify_round(EVMNET.public_key, round_, point)
    assert randomness_of(point).hex() == randomness


def test_round_of_another_number_does_not_verify() -> None:
    signature = Signature.from_bytes(bytes.fromhex(PUBLIC_ROUNDS[0][1]))
    assert not verify_round(EVMNET.public_key, 2, signature)
    assert not verify_round(SecretKey(7).public_key().g2, 1, signature)


@pytest.mark.parametrize(("u", "x", "y"), MAPPED_ELSEWHERE)
def test_map_is_the_one_of_another_library(u: str, x: str, y: str) -> None:
    assert map_to_point(int(u, 16)) == (int(x, 16), int(y, 16))


def test_chain_hash_names_the_network() -> None:
    """drand's own rule: sha256 of period, genesis, key, genesis seed and name."""
    key = b"".join(c.to_bytes(32, "big") for c in EVMNET.public_key)
    parts = EVMNET.period.to_bytes(4, "big") + EVMNET.genesis.to_bytes(8, "big") + key
    named = sha256(parts + bytes.fromhex(str(INFO["genesis_seed"])) + b"evmnet").digest()
    assert named == EVMNET.chain_hash


def test_vectors_of_the_contract_are_what_python_computes() -> None:
    columns = VECTORS["maps"]
    for u, x, y in list(zip(columns["u"], columns["x"], columns["y"], strict=True))[:40]:
        assert map_to_point(int(u)) == (int(x), int(y))


@pytest.mark.parametrize(
    ("time", "round_"),
    [(0, 1), (EVMNET.genesis, 1), (EVMNET.genesis + 1, 2), (EVMNET.genesis + 3, 2), (EVMNET.genesis + 4, 3)],
)
def test_first_round_from_a_time(time: int, round_: int) -> None:
    assert EVMNET.first_round_from(time) == round_
    assert EVMNET.time_of(round_) >= time


@pytest.mark.parametrize("number", [0, -1, 2**64])
def test_number_that_no_round_has_is_refused(number: int) -> None:
    with pytest.raises(EncodingError, match="count from 1"):
        round_message(number)


def test_own_network_signs_what_its_key_verifies() -> None:
    secret = SecretKey(11)
    assert verify_round(secret.public_key().g2, 5, sign_round(secret, 5))


def test_info_of_both_versions_of_the_interface() -> None:
    assert DrandNetwork.from_info(json.dumps(INFO).encode()) == EVMNET
    older = {"hash": INFO["chain_hash"], "schemeID": INFO["scheme"], "metadata": {"beaconID": "evmnet"}}
    kept = {k: v for k, v in INFO.items() if k not in ("chain_hash", "scheme", "beacon_id")}
    assert DrandNetwork.from_info(json.dumps(kept | older).encode()) == EVMNET
    assert DrandNetwork.from_info(json.dumps(EVMNET.info()).encode()) == EVMNET


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"scheme": "bls-unchained-g1-rfc9380"}, "signs by"),
        ({"public_key": "00" * 128}, "infinity"),
        ({"public_key": "11" * 128}, "not on the curve"),
        ({"public_key": "ff" * 48}, "public_key"),
        ({"period": 0}, "period"),
        ({"chain_hash": "04f1"}, "chain_hash"),
    ],
)
def test_info_that_no_contract_can_use_is_refused(change: dict[str, object], why: str) -> None:
    with pytest.raises(EncodingError, match=why):
        DrandNetwork.from_info(json.dumps(INFO | change).encode())
