"""Openings read in parts: the same verdicts, checks and receipts as of whole ones, for a fraction of the bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from deltaproof.protocol.evidence.state import Vector
from deltaproof.protocol.evidence.transcript import StepOpening, serialize_opening
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.types import StepIndex, address
from deltaproof.replaying.judges import Judges
from deltaproof.replaying.judging import Judgement, Submission, judge_submission
from deltaproof.replaying.replay import Foresight
from deltaproof.store import ArtifactStore, lean, open_store
from deltaproof.store.backend import LocalBackend
from deltaproof.store.paths import opening_path
from tests.tuning.rehearsal import Rehearsal, minimal_spec, rehearse

STEPS = (0, 2, 3, 4, 5)
"""The first, and a run that ends with the last."""


class Parts(LocalBackend):
    """A folder that is read in parts, as gateways are, and counts what is read of openings."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.bytes, self.whole = 0, 0

    def read(self, path: str, max_bytes: int) -> bytes:
        data = super().read(path, max_bytes)
        if path.startswith("openings/"):
            self.bytes, self.whole = self.bytes + len(data), self.whole + 1
        return data

    def read_range(self, path: str, start: int, size: int) -> bytes:
        part = super().read(path, 10**9)[start : start + size]
        self.bytes += len(part)
        return part


@pytest.fixture(scope="module", params=["exact", "bounded"])
def rehearsal(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Rehearsal:
    folder = tmp_path_factory.mktemp(f"lean-{request.param}")
    return rehearse(minimal_spec(folder / "model", training={"numeric": request.param}), folder / "round")


@pytest.fixture(autouse=True)
def _small_adapters_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lean, "HEAD_BYTES", 256)


@pytest.fixture
def folder(rehearsal: Rehearsal, tmp_path: Path) -> Path:
    published = open_store(str(tmp_path))
    published.put_tensors(rehearsal.trained.theta)
    for opening in rehearsal.openings(STEPS):
        published.put_opening(rehearsal.trained.transcript_root, rehearsal.committed.trainer, opening)
    return tmp_path


@pytest.fixture
def judged(rehearsal: Rehearsal) -> Callable[[LocalBackend], Judgement]:
    trained = rehearsal.trained
    submission = Submission(
        trainer=address(rehearsal.context.trainer),
        data_root=rehearsal.shard.root,
        data_rows=len(rehearsal.shard.rows),
        delta_digest=trained.theta_digest,
        transcript_root=trained.transcript_root,
    )
    judges = Judges(rehearsal.spec)
    return lambda place: judge_submission(judges, ArtifactStore(place), rehearsal.context, submission, STEPS)


def place_of(folder: Path, rehearsal: Rehearsal, step: int) -> Path:
    root, trainer = rehearsal.trained.transcript_root, rehearsal.committed.trainer
    return folder / opening_path(root, trainer, StepIndex(step))


def test_parts_give_what_the_whole_gives(
    folder: Path, judged: Callable[[LocalBackend], Judgement], rehearsal: Rehearsal
) -> None:
    parts = Parts(folder)
    of_parts, whole = judged(parts), judged(LocalBackend(folder))
    assert of_parts.finding == whole.finding
    assert of_parts.finding.verdict is Verdict.ACCEPTED
    assert (of_parts.read, of_parts.opened) == (whole.read, whole.opened), "receipts are for the same bytes"
    assert parts.whole == 0
    size, exact = 4 * rehearsal.bench.layout.size, rehearsal.spec.training.numeric == "exact"
    files = [place_of(folder, rehearsal, step).stat().st_size for step in STEPS]
    tensors = 2 * 3 * size + (0 if exact else len(STEPS) * size)  # two states: of step 0, and of the run's first
    heads = sum(files) - 4 * size * len(STEPS)
    assert tensors < parts.bytes <= tensors + heads + lean.HEAD_BYTES * len(STEPS)
    assert parts.bytes < (0.6 if exact else 0.8) * sum(files)


def test_what_cannot_be_foretold_is_read(
    folder: Path, judged: Callable[[LocalBackend], Judgement], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rounding tie that falls the other way gives another gradient than the committed one, and so might a bug."""
    told = Foresight.gradient

    def other(self: Foresight, opening: StepOpening) -> Vector | None:
        found = told(self, opening)
        return None if found is None else np.nextafter(found, np.float32(1))

    def nothing(self: Foresight, step: StepIndex) -> Mapping[str, Vector] | None:
        return None

    monkeypatch.setattr(Foresight, "gradient", other)
    monkeypatch.setattr(Foresight, "state", nothing)
    parts = Parts(folder)
    assert judged(parts).finding == judged(LocalBackend(folder)).finding
    assert parts.whole == 0


@pytest.mark.parametrize("step", [0, 3])
def test_a_head_that_nobody_committed_is_not_computed_from(
    folder: Path, judged: Callable[[LocalBackend], Judgement], rehearsal: Rehearsal, step: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Attack: another trainer's opening under the name of this one, whose rows would be computed on first."""
    (foreign,) = rehearsal.openings((1,))
    place_of(folder, rehearsal, step).write_bytes(serialize_opening(foreign))
    asked: list[int] = []
    told = Foresight.gradient

    def noted(self: Foresight, opening: StepOpening) -> Vector | None:
        asked.append(opening.before.step)
        return told(self, opening)

    monkeypatch.setattr(Foresight, "gradient", noted)
    parts = Parts(folder)
    of_parts, whole = judged(parts), judged(LocalBackend(folder))
    assert of_parts.finding == whole.finding
    assert of_parts.finding.verdict is Verdict.WITHHELD
    assert asked == [earlier for earlier in STEPS if earlier < step]
    assert parts.whole == 1, "what does not fit is read as a whole, which decides"


@pytest.mark.parametrize("damage", [lambda data: data[:5], lambda data: b"\xff" * len(data), lambda _: b""])
def test_damaged_openings_are_what_they_were(
    folder: Path, judged: Callable[[LocalBackend], Judgement], rehearsal: Rehearsal, damage: Callable[[bytes], bytes]
) -> None:
    place = place_of(folder, rehearsal, 4)
    place.write_bytes(damage(place.read_bytes()))
    assert judged(Parts(folder)).finding == judged(LocalBackend(folder)).finding
    place.unlink()
    assert judged(Parts(folder)).finding.verdict is Verdict.WITHHELD
