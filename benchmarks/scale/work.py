"""What a verifier and an auditor compute in a round of N trainers, besides replaying: seconds and bytes.

Deltas are made up (a small model's LoRA adapters with noise): what they are worth does not matter here, how many there
are does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.scale.reading import timed
from deltaproof.protocol.draws.samples import draw_samples
from deltaproof.protocol.evidence.rows import canonical_row
from deltaproof.protocol.outcome.attestation import Attestation, TrainerFinding
from deltaproof.protocol.outcome.settlement import Verdict, leaves_tree
from deltaproof.protocol.rules import MAX_LEAVES
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Address, Digest32, RoundIndex, TaskId, address
from deltaproof.tuning.base_models.presets import complete_spec, minimal_model
from deltaproof.tuning.combining.mixing import members_of
from deltaproof.tuning.training.workbench import Workbench
from incentives.row_evidence import RowClaim, count_rows
from incentives.settling import RevealedAttestation, compose_settlement
from incentives.similarity import similarities
from incentives.unions import Contribution
from incentives.valuation import value_round

__all__ = ["work_of_a_round"]

ROWS, SHOWN, WORDS = 96, 24, 8
VERIFIERS = 3
SEED = Digest32(bytes(range(32)))


def work_of_a_round(trainers: int) -> dict[str, Any]:
    """Seconds of every step that is there once a round, memory of the largest two, the attestation's bytes."""
    bench = _bench()
    draw = np.random.default_rng(trainers)
    start = bench.initial_state()
    thetas = [start + draw.normal(0, 1e-3, start.shape).astype(np.float32) for _ in range(trainers)]
    people = [Contribution(theta, ROWS, i, enrolled=i) for i, theta in enumerate(thetas)]
    claims = [RowClaim(i, ROWS, frozenset(_rows(SHOWN, 1000 + i))) for i in range(trainers)]
    addresses = [address(i.to_bytes(20, "big")) for i in range(1, trainers + 1)]
    found: dict[str, Any] = {"trainers": trainers}
    timed(found, "samples", lambda: [
        draw_samples(SEED, TaskId(1), RoundIndex(1), a, steps=50, extra=12) for a in addresses
    ])  # fmt: skip
    timed(found, "rows", lambda: count_rows(claims))
    with _peak(found, "valuation"):
        timed(found, "valuation", lambda: value_round(bench, start, people, _rows(16, 0), b"scale"))
    if trainers <= MAX_LEAVES:
        _settled(found, bench, addresses)
        begun, *members = members_of(bench, [start, *thetas])
        with _peak(found, "likeness"):
            timed(found, "likeness", lambda: similarities(members, begun, bench.pairs))
    return found


def _settled(found: dict[str, Any], bench: Workbench, addresses: Sequence[Address]) -> None:
    """From the attestations to the settlement's tree, for as many trainers as a settlement holds."""
    attestation = Attestation(
        task=1, round=1, verifier=address(bytes([1]) * 20), game=None, improvement_nanos=10**8, next_start_digest=SEED,
        findings=tuple(
            TrainerFinding(trainer=a, verdict=Verdict.ACCEPTED, score_nanos=10**6 + i, stderr_nanos=10**5)
            for i, a in enumerate(addresses)
        ),
    )  # fmt: skip
    found["attestation_bytes"] = len(attestation.to_document())
    others = [address(bytes([n]) * 20) for n in range(1, VERIFIERS + 1)]
    revealed = [RevealedAttestation(attestation.model_copy(update={"verifier": who}), 100) for who in others]
    proposal = timed(found, "settlement", lambda: compose_settlement(
        bench.spec, SEED, addresses, revealed, scored=True
    ))  # fmt: skip
    found["proof_digests"] = len(timed(found, "tree", lambda: leaves_tree(proposal.leaves)).proof(0))


@contextmanager
def _peak(found: dict[str, Any], name: str) -> Iterator[None]:
    """Memory that the process needs inside beyond what it had, bytes. Linux forgets its peak where it is told to."""
    status = Path("/proc/self/status")

    def kilobytes(line: str) -> int:
        return next(int(one.split()[1]) for one in status.read_text().splitlines() if one.startswith(line))

    Path("/proc/self/clear_refs").write_text("5")
    before = kilobytes("VmRSS")
    yield
    found[f"{name}_memory_bytes"] = 1024 * max(0, kilobytes("VmHWM") - before)


def _rows(count: int, seed: int) -> list[bytes]:
    draw = np.random.default_rng(seed)
    return [
        canonical_row({"text": " ".join(f"w{w}" for w in draw.integers(0, 10**6, WORDS)), "label": int(i % 2)})
        for i in range(count)
    ]


@cache
def _bench() -> Workbench:
    """A small BERT under LoRA, in a task of anybody's data."""
    folder = TemporaryDirectory()
    _KEPT.append(folder)
    model = minimal_model(Path(folder.name) / "bert", "bert")
    sections = {
        "training": {"steps": 12, "batch_size": 8},
        "scoring": {"index": "aumann_shapley", "rows": "distinct"},
        "aggregation": {"weights": "rows"},
    }
    spec: TaskSpec = complete_spec(f"path:{model}", "sequence-classification", sections)
    return Workbench.from_spec(spec, precision="float32")


_KEPT: list[Any] = []
"""Folders that live as long as the process."""
