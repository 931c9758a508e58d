"""Withheld openings and deltas that cannot be used, through the store and the judge that verifiers run."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.attacks.arena import Arena
from benchmarks.attacks.forging import Forged
from deltaproof.protocol.evidence.state import Vector, component_root
from deltaproof.protocol.evidence.transcript import StepOpening, serialize_opening
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.types import Address, Digest32, StepIndex, address
from deltaproof.replaying.judges import Judges
from deltaproof.replaying.judging import Judgement, Submission, judge_submission
from deltaproof.store import ArtifactStore, open_store
from deltaproof.store.paths import opening_path

CONTROL = "all as committed"


class Court:
    """What a verifier knows about one trainer's round, with a store that the trainer fills."""

    def __init__(self, arena: Arena, folder: Path) -> None:
        self.arena, self.folder = arena, folder
        self.store: ArtifactStore = open_store(str(folder))
        self.judges = Judges(arena.bench.spec)

    @property
    def trainer(self) -> Address:
        return address(self.arena.context.trainer)

    def publish(self, root: Digest32, opening: StepOpening) -> None:
        self.store.put_opening(root, self.trainer, opening)

    def judge(self, forged: Forged, delta: Digest32, steps: Collection[int]) -> Judgement:
        context = self.arena.context
        submission = Submission(
            self.trainer, Digest32(context.data_root), context.rows, delta, Digest32(forged.transcript_root)
        )
        return judge_submission(self.judges, self.store, context, submission, sorted(steps))


def withheld_steps(arena: Arena, folder: Path, forged: Forged, hidden: Collection[int]) -> dict[int, str]:
    """Publish all openings but the hidden ones; steps that a verifier refuses, with the check that fails."""
    court = Court(arena, folder)
    delta = court.store.put_tensors(forged.theta)
    for opening in forged.openings:
        if opening.before.step not in hidden:
            court.publish(Digest32(forged.transcript_root), opening)
    refused = {}
    for step in range(arena.steps):
        finding = court.judge(forged, delta, [step]).finding
        if failure := finding.failure():
            refused[step] = f"{failure.check}: {finding.verdict.name.lower()}"
    return refused


def unusable_artifacts(arena: Arena, folder: Path) -> list[str]:
    """Deltas and openings that are not there or not what was committed; each must end as withheld or rejected."""
    honest = arena.forge(lambda *_: None)
    right = component_root(honest.theta)
    size = arena.bench.layout.size
    short, root = honest.theta[: size // 2], Digest32(honest.transcript_root)
    poisoned = np.where(np.arange(size) == 3, np.float32(np.nan), honest.theta)

    def wrong_rank(opening: StepOpening) -> StepOpening:
        halved = {slot: values[: size // 2] for slot, values in opening.state.items()}
        return replace(opening, state=halved, gradient=opening.gradient[: size // 2])

    def file_at(court: Court, path: str, content: bytes) -> None:
        target = court.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)

    def delta_of(values: Vector) -> Callable[[Court], Digest32]:
        return lambda court: court.store.put_tensors(values)

    def delta_file(content: bytes) -> Callable[[Court], Digest32]:
        def prepare(court: Court) -> Digest32:
            file_at(court, f"tensors/{right.hex()}", content)
            return right

        return prepare

    def opening_file(content: bytes) -> Callable[[Court], Digest32]:
        def prepare(court: Court) -> Digest32:
            file_at(court, opening_path(root, court.trainer, StepIndex(1)), content)
            return court.store.put_tensors(honest.theta)

        return prepare

    def without_opening(court: Court) -> Digest32:
        (court.folder / opening_path(root, court.trainer, StepIndex(1))).unlink()
        return court.store.put_tensors(honest.theta)

    second, sampled = honest.openings[1], (0, 1, arena.steps - 1)
    cases: dict[str, Callable[[Court], Digest32]] = {
        CONTROL: delta_of(honest.theta),
        "no delta": lambda _: right,
        "delta of another rank": delta_of(short),
        "delta with NaN": delta_of(poisoned),
        "delta padded with values": delta_of(np.concatenate([honest.theta, short])),
        "another delta than the trained one": delta_of(honest.theta + np.float32(1e-3)),
        "pickle in place of the delta": delta_file(b"\x80\x04\x95" + honest.theta.tobytes()),
        "delta of a gigabyte of zeros in its header": delta_file((2**30).to_bytes(8, "little") + bytes(64)),
        "no opening": without_opening,
        "opening of another rank": opening_file(serialize_opening(wrong_rank(second))),
        "opening of another step": opening_file(serialize_opening(honest.openings[2])),
        "half an opening": opening_file(serialize_opening(second)[:-1000]),
    }
    found: list[str] = []
    for number, (name, prepare) in enumerate(cases.items()):
        court = Court(arena, folder / str(number))
        for step in sampled:
            court.publish(root, honest.openings[step])
        delta = prepare(court)
        verdict = court.judge(honest, delta, sampled).finding.verdict
        if (verdict is Verdict.ACCEPTED) is not (name == CONTROL):
            raise AssertionError(f"{name}: {verdict.name}")
        if name != CONTROL:
            found.append(f"{name}: {verdict.name.lower()}")
    return [
        "artifacts that cannot be used, beside honest ones that are accepted: "
        f"{len(found)} of {len(cases) - 1} refused ({'; '.join(found)}); both verdicts are slashed"
    ]
