"""The settlement function: whose word counts, how it is weighed, and who signs what comes out."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eth_utils.crypto import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.rules import SAME_ADAPTER
from deltaproof.protocol.types import address, address_bytes
from incentives.payouts import PayoutEntry, PayoutTerms, compute_payouts
from incentives.scoring import same_adapter
from incentives.settling import (
    NothingToSettle,
    RevealedAttestation,
    attested_alike,
    compose_settlement,
    disagreements,
)
from tests.vectors import generate_settling
from tests.vectors.generate_settling import ACCEPTED, BAD, GONE, SEED, Case, attested, good, trainers_of

PATH = Path(generate_settling.__file__).with_name("settling.json")
VECTORS = json.loads(PATH.read_text("utf-8"))
TWO = trainers_of(2)
FIRST, LAST = address(bytes(20)), address(b"\xff" * 20)


def leaf_values(case: Case) -> list[tuple[Verdict, int, int, int]]:
    leaves = case.settled().leaves
    return [(leaf.verdict, leaf.score_nanos, leaf.stderr_nanos, leaf.discount_bps) for leaf in leaves]


# Whose word counts.


@pytest.mark.parametrize(
    ("results", "trainers"),
    [([BAD], TWO[:1]), ([BAD], TWO[1:]), ([BAD] * 3, (*TWO, LAST)), ([BAD] * 3, (FIRST, *TWO)), ([], ())],
    ids=["lacks the second", "lacks the first", "names a stranger behind", "names a stranger before", "names nobody"],
)
def test_attestation_about_other_trainers_has_no_say(results: list[Any], trainers: tuple[Any, ...]) -> None:
    honest, stray = attested("a", [good(5), good(6)], 1), attested("b", results, 10**9, trainers=trainers)
    assert Case("", TWO, (honest, stray)).settled() == Case("", TWO, (honest,)).settled()


def test_without_usable_attestation_there_is_nothing_to_settle() -> None:
    for revealed in ((), (attested("a", [BAD], trainers=TWO[:1]),)):
        with pytest.raises(NothingToSettle, match="no usable attestation"):
            compose_settlement(generate_settling.spec_of(), SEED, TWO, revealed, scored=True)


def test_order_of_reveals_changes_nothing() -> None:
    for case in itertools.islice(generate_settling.drawn(), 8):
        expected = case.settled()
        for revealed in itertools.islice(itertools.permutations(case.revealed), 24):
            assert case.settled(revealed) == expected


# Verdicts.


@pytest.mark.parametrize(
    ("stakes", "verdict"),
    [((50, 50), ACCEPTED), ((49, 51), Verdict.REJECTED), ((51, 49), ACCEPTED)],
)
def test_verdict_tie_goes_to_the_smaller_code(stakes: tuple[int, int], verdict: Verdict) -> None:
    case = Case("", TWO, (attested("a", [good(5), BAD], stakes[0]), attested("b", [BAD, BAD], stakes[1])))
    assert leaf_values(case)[0][0] is verdict


def test_verdict_of_the_largest_stake_wins_without_a_majority() -> None:
    votes = (([good(5), BAD], 40), ([BAD, BAD], 35), ([GONE, BAD], 25))
    case = Case("", TWO, tuple(attested(str(i), results, stake) for i, (results, stake) in enumerate(votes)))
    assert [verdict for verdict, *_ in leaf_values(case)] == [ACCEPTED, Verdict.REJECTED]


# Medians.


@pytest.mark.parametrize(
    ("stakes", "median"),
    [((1, 1, 1, 1), 20), ((1, 1, 1), 20), ((1, 1), 10), ((50, 49, 1), 10), ((49, 50, 1), 20), ((1, 1, 2), 20)],
)
def test_score_is_the_smallest_value_with_half_of_the_stake_at_or_below(stakes: tuple[int, ...], median: int) -> None:
    revealed = [attested(str(i), [good(10 * (i + 1)), BAD], stake) for i, stake in enumerate(stakes)]
    assert leaf_values(Case("", TWO, tuple(revealed)))[0][1] == median


def test_score_hears_only_those_of_the_settled_verdict() -> None:
    """Attack: reject a trainer, and drag down the score that it gets if the others accept it."""
    honest = [attested("a", [good(100), good(40)], 30), attested("b", [good(200), good(40)], 25)]
    for score in (-(10**15), 10**15):
        hostile = attested("c", [(Verdict.REJECTED, score, 7, 10_000), good(40)], 39)
        assert leaf_values(Case("", TWO, (*honest, hostile))) == [(ACCEPTED, 100, 1_000, 0), (ACCEPTED, 40, 1_000, 0)]


@given(
    honest=st.lists(st.integers(-50, 50), min_size=3, max_size=6),
    hostile=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=2),
)
@settings(max_examples=60, deadline=None)
def test_minority_cannot_move_a_score_out_of_the_range_of_the_others(honest: list[int], hostile: list[int]) -> None:
    revealed = [attested(f"h{i}", [good(score), BAD]) for i, score in enumerate(honest)]
    revealed += [attested(f"m{i}", [good(score), BAD]) for i, score in enumerate(hostile)]
    score = leaf_values(Case("", TWO, tuple(revealed)))[0][1]
    assert min(honest) <= score <= max(honest)


# The next adapter.


def lot(revealed: RevealedAttestation) -> bytes:
    return keccak(SEED + address_bytes(revealed.attestation.verifier))


def test_next_adapter_is_the_lots_choice_among_those_with_all_settled_verdicts() -> None:
    """Where each has computed another one, and all have the same stake."""
    agreeing = [attested(name, [good(9), BAD], 2, adapter=name) for name in "abcdef"]
    dissent = [attested(name, [good(9), good(1)], 1, adapter=name) for name in "ghijklm"]
    assert min(map(lot, dissent)) < min(map(lot, agreeing)), "or the dissenters would lose the lot anyway"
    settlement = Case("", TWO, (*agreeing, *dissent)).settled().settlement
    winner = min(agreeing, key=lot).attestation
    assert settlement.next_start_digest == winner.next_start_digest
    assert settlement.artifact_digest == winner.digest()


def test_next_adapter_of_few_with_the_lot_on_their_side_is_not_the_rounds() -> None:
    """Attack: split a little stake over identities until the lot says one of them, whose adapter nobody signs."""
    honest = [attested(name, [good(9), BAD], 100) for name in "abc"]
    many = [attested(f"identity {n}", [good(9), BAD], 1, adapter="garbage") for n in range(40)]
    assert min(map(lot, many)) < min(map(lot, honest)), "or they would lose the lot anyway"
    case = Case("", TWO, (*honest, *many))
    settlement = case.settled().settlement
    winner = min(honest, key=lot).attestation
    assert settlement.next_start_digest == winner.next_start_digest
    assert settlement.artifact_digest == winner.digest()


def test_next_adapter_is_anybodys_where_nobody_found_all_settled_verdicts() -> None:
    three = trainers_of(3)
    found = ([BAD, good(20), good(30)], [good(10), BAD, good(30)], [good(10), good(20), BAD])
    revealed = [attested(str(i), r, improvement=100 * i, adapter=str(i)) for i, r in enumerate(found)]
    case = Case("", three, tuple(revealed))
    settlement = case.settled().settlement
    assert settlement.next_start_digest == min(revealed, key=lot).attestation.next_start_digest
    assert settlement.improvement_nanos == 100
    assert all(disagreements(case.spec, r.attestation, case.settled()) for r in revealed), "nobody signs it"


def test_improvement_is_the_median_of_those_with_all_settled_verdicts() -> None:
    revealed = (
        attested("a", [good(9), BAD], 30, improvement=1_000),
        attested("b", [good(9), BAD], 30, improvement=2_000),
        attested("c", [good(9), good(1)], 59, improvement=-5_000),
    )
    assert Case("", TWO, revealed).settled().settlement.improvement_nanos == 1_000


# Who signs.

OWN = attested("a", [good(1_000, discount=0), BAD], improvement=500)


@pytest.mark.parametrize(
    ("results", "improvement", "objections"),
    [
        ([good(1_000), BAD], 500, []),
        ([good(101_000), BAD], 500, []),
        ([good(-99_000), BAD], -99_500, []),
        ([good(101_001), BAD], 500, ["score"]),
        ([good(-99_001), BAD], 500, ["score"]),
        ([good(1_000), BAD], 100_501, ["improvement"]),
        ([good(1_000, error=10**9), BAD], 500, []),
        ([good(1_000, discount=1), BAD], 500, ["discount"]),
        ([good(1_000), GONE], 500, ["verdict"]),
        ([good(1_000), good(0)], 500, ["verdict"]),
    ],
)
def test_disagreements_name_what_is_beyond_the_tolerance(
    results: list[Any], improvement: int, objections: list[str]
) -> None:
    proposal = Case("", TWO, (attested("b", results, improvement=improvement),)).settled()
    found = disagreements(generate_settling.spec_of(tolerance=100_000), OWN.attestation, proposal)
    assert [objection.what for objection in found] == objections


def test_disagreements_name_trainers_who_are_missing_or_too_many() -> None:
    for settled in (TWO[:1], trainers_of(3)):
        proposal = Case("", settled, (attested("b", [BAD] * len(settled)),)).settled()
        found = disagreements(generate_settling.spec_of(), OWN.attestation, proposal)
        named = {objection.trainer for objection in found if objection.what == "commitment"}
        assert named == set(settled) ^ set(TWO)


@pytest.mark.parametrize(("factor", "same"), [(0.0, True), (0.99, True), (1.01, False), (1e9, False)])
def test_same_adapter_allows_rounding_of_the_whole_and_no_more(factor: float, same: bool) -> None:
    own = np.array([3.0, -4.0, 0.0], dtype=np.float32)
    off = np.array([0.0, 0.0, factor * SAME_ADAPTER * 5.0], dtype=np.float32)
    assert same_adapter(own, own + off) is same


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_same_adapter_is_never_one_without_numbers(value: float) -> None:
    own = np.ones(3, dtype=np.float32)
    assert not same_adapter(own, np.array([1.0, 1.0, value], dtype=np.float32))


# Vectors, and a second implementation that reads nothing but them.


def test_settling_vectors_are_up_to_date() -> None:
    assert PATH.read_text("utf-8") == generate_settling.render(), "run: python tests/vectors/generate_settling.py"


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["name"])
def test_settling_vector_follows_from_the_rule_as_written(case: dict[str, Any]) -> None:
    """docs/protocol/settlement.md word by word, with one vote for each unit of stake."""
    usable = [
        (entry["document"], int(entry["stake"]), entry["digest"])
        for entry in case["attestations"]
        if [finding["trainer"] for finding in entry["document"]["findings"]] == case["trainers"]
    ]
    leaves = [settled_leaf(usable, place) for place in range(len(case["trainers"]))]
    verdicts = [leaf["verdict"] for leaf in leaves]
    agreeing = [u for u in usable if [f["verdict"] for f in u[0]["findings"]] == verdicts] or usable
    seed = bytes.fromhex(case["challengeSeed"][2:])
    backed = Counter[str]()
    for document, stake, _ in agreeing:
        backed[document["next_start_digest"]] += stake
    most = [u for u in agreeing if backed[u[0]["next_start_digest"]] == max(backed.values())]
    source, _, digest = min(most, key=lambda u: keccak(seed + bytes.fromhex(u[0]["verifier"][2:])))
    settled = case["settlement"]
    assert settled["next_start_digest"] == source["next_start_digest"]
    assert settled["artifact_digest"] == digest
    assert settled["improvement_nanos"] == median([(d["improvement_nanos"], stake) for d, stake, _ in agreeing])
    chained = bytes(32)
    for leaf in leaves:
        chained = keccak(chained + bytes.fromhex(leaf["trainer"][2:]) + bytes([leaf["verdict"]]))
    assert settled["verdicts_digest"] == "0x" + chained.hex()
    paid = compute_payouts(
        PayoutTerms(
            int(case["budget"]), settled["improvement_nanos"], int(case["targetNanos"]),
            case["floorBps"], case["capBps"], case["scored"], case["baseBps"],
        ),
        [PayoutEntry(leaf["verdict"] == 1, leaf["score_nanos"], leaf["discount_bps"]) for leaf in leaves],
    )  # fmt: skip
    assert case["leaves"] == [{**leaf, "payout": str(pay)} for leaf, pay in zip(leaves, paid.amounts, strict=True)]


def settled_leaf(usable: list[tuple[dict[str, Any], int, str]], place: int) -> dict[str, Any]:
    findings = [(document["findings"][place], stake) for document, stake, _ in usable]
    votes = Counter[int]()
    for finding, stake in findings:
        votes[finding["verdict"]] += stake
    verdict = max(sorted(votes), key=lambda code: votes[code])  # max keeps the first of equals
    heard = [(finding, stake) for finding, stake in findings if finding["verdict"] == verdict]
    medians = {
        name: median([(f[name], stake) for f, stake in heard])
        for name in ("score_nanos", "stderr_nanos", "discount_bps")
    }
    return {"trainer": findings[0][0]["trainer"], "verdict": verdict, **medians}


def median(values: list[tuple[int, int]]) -> int:
    """Lower median, one entry for each unit of stake."""
    votes = sorted(value for value, stake in values for _ in range(stake))
    return votes[(len(votes) - 1) // 2]


@pytest.mark.parametrize("pair", VECTORS["adapters"], ids=lambda pair: pair["name"])
def test_adapter_vector_is_judged_as_written(pair: dict[str, Any]) -> None:
    own, settled = (np.frombuffer(bytes.fromhex(pair[side]), ">f4").astype(np.float64) for side in ("own", "settled"))
    off = np.sqrt(((own - settled) ** 2).sum())
    assert pair["same"] == bool(off <= 1e-6 * np.sqrt((own**2).sum()))


def test_lot_differs_between_rounds() -> None:
    """Whose adapter goes on is not the same verifier's luck for ever: the challenge seed decides."""
    revealed = [attested(str(i), [good(5), BAD], adapter=str(i)) for i in range(4)]
    seeds = [generate_settling.Digest32(keccak(bytes([number]))) for number in range(40)]
    spec = generate_settling.spec_of()
    winners = Counter(
        compose_settlement(spec, seed, TWO, revealed, scored=True).settlement.artifact_digest for seed in seeds
    )
    assert len(winners) == 4


# Who had what somebody else computes from.


@pytest.mark.parametrize(
    ("other", "alike"),
    [
        (attested("b", [good(5), BAD]), True),
        (attested("b", [good(100_005), BAD]), True),
        (attested("b", [good(100_006), BAD]), False),
        (attested("b", [good(5), GONE]), False),
        (attested("b", [good(5, discount=10_000), BAD]), False),
        (attested("b", [good(5), BAD], improvement=10_100_001), False),
        (attested("b", [good(5)], trainers=TWO[:1]), False),
    ],
)
def test_attestations_are_alike_within_the_tolerance(other: RevealedAttestation, alike: bool) -> None:
    """Attack: attest scores that are made up, so that a juror takes the validation set for shown in time."""
    own, spec = attested("a", [good(5), BAD]).attestation, generate_settling.spec_of(tolerance=100_000)
    assert attested_alike(spec, own, other.attestation) is alike
