"""What decided a seed: the hash of a later block, or a later round of drand, whose signature is checked again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from deltaproof.auditor.audit.case import RoundCase
from deltaproof.auditor.audit.check import Check
from deltaproof.auditor.index.events import Event
from deltaproof.errors import CryptoError
from deltaproof.protocol.commit.bls import Signature, checked_g2
from deltaproof.protocol.commit.drand import EVMNET, DrandNetwork, randomness_of, seed_of, verify_round
from deltaproof.protocol.types import Digest32

__all__ = ["check_decided_after", "check_seed"]


def check_seed(case: RoundCase, name: str, drawn: Event, seed: bytes, request: int) -> Iterator[Check]:
    """Whether a seed is what the beacon's request had to become."""
    subject, beacon = case.subject.of(drawn), case.index.deployment.contracts["beacon"]
    round_ = case.index.drand_round(request)
    if round_ is not None:
        yield from _check_round(case, name, drawn, seed, request, round_)
        return
    decided = case.index.seed(request)
    if decided is None:
        yield subject.failed(name, f"the beacon never fixed its request {request}")
        return
    expected = seed_of(Digest32(decided.target_hash), beacon, request)
    yield subject.equal(name, expected, seed, f"from the hash of block {decided.target}")


def check_decided_after(case: RoundCase, name: str, drawn: Event, request: int, block: int) -> Iterator[Check]:
    """Whether what decided the seed came after this block."""
    subject, round_ = case.subject.of(drawn), case.index.drand_round(request)
    if round_ is None:
        seed = case.index.seed(request)
        if seed is not None:
            why = "the block that decides the samples was not later than the last reveal"
            yield subject.that(name, seed.target > block, why, expected=f"a block after {block}", actual=seed.target)
        return
    network, _ = _network(case)
    header = case.index.blocks([block]).get(block)
    if network is not None and header is not None:
        why = "the round of drand that decides the samples was signed before the last reveal"
        at = network.time_of(round_)
        yield subject.that(name, at > header.timestamp, why, expected=f"after {header.timestamp}", actual=at)


def _check_round(case: RoundCase, name: str, drawn: Event, seed: bytes, request: int, round_: int) -> Iterator[Check]:
    subject = case.subject.of(drawn)
    network, terms = _network(case)
    if network is None:
        yield subject.failed(name, "the beacon's public key is no point of the group")
        return
    if (network.public_key, network.genesis, network.period) != (EVMNET.public_key, EVMNET.genesis, EVMNET.period):
        why = "seeds come from a drand network of somebody's own, who knew them in advance"
        yield subject.unchecked(f"{name} network", why)
    published = case.index.drand_signature(round_)
    if published is None:
        yield subject.failed(name, f"round {round_} of drand was never published")
        return
    try:
        signature = Signature.from_wire(published)
    except CryptoError as error:
        yield subject.failed(f"{name} signature", f"round {round_} of drand: {error}")
        return
    signed = verify_round(network.public_key, round_, signature)
    yield subject.that(f"{name} signature", signed, f"the network did not sign what was published as round {round_}")
    expected = seed_of(randomness_of(signature), case.index.deployment.contracts["beacon"], request)
    yield subject.equal(name, expected, seed, f"from round {round_} of drand")
    asked = case.index.request_event(request)
    header = None if asked is None else case.index.blocks([asked.block]).get(asked.block)
    if header is not None:
        due = network.first_round_from(header.timestamp + terms["lead_seconds"])
        yield subject.equal(f"{name} round", due, round_, f"asked for at {header.timestamp}")


def _network(case: RoundCase) -> tuple[DrandNetwork | None, Mapping[str, Any]]:
    terms = case.index.deployment.drand or {}
    try:
        key = checked_g2([int(coordinate) for coordinate in terms["public_key"]])
    except CryptoError:
        return None, terms
    chain_hash = Digest32(bytes.fromhex(terms["chain_hash"]))
    return DrandNetwork(key, terms["genesis"], terms["period"], chain_hash), terms
