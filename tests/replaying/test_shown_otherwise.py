"""Openings that one looker is shown and the next is not: what does not fit the commitments is nobody's opening."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deltaproof.errors import ArtifactAltered
from deltaproof.protocol.evidence.rows import OpenedRow
from deltaproof.protocol.evidence.transcript import StepOpening
from deltaproof.protocol.outcome.attestation import Attestation
from deltaproof.protocol.outcome.settlement import SettlementProposal, Verdict
from deltaproof.protocol.types import StepIndex, address
from deltaproof.protocol.wire import merkle
from deltaproof.replaying.judges import Judges
from deltaproof.replaying.judging import Judgement, Submission, judge_submission
from deltaproof.store import ArtifactStore, open_store
from incentives.settling import RevealedAttestation, compose_settlement, disagreements
from tests.tuning.rehearsal import Rehearsal

STEPS = (0, 2, 5)
STEP = 2


def other(values: np.ndarray) -> np.ndarray:
    changed = values.copy()
    changed[0] = np.nextafter(changed[0], np.float32(9))
    return changed


def with_row(opening: StepOpening, **changes: object) -> StepOpening:
    first: OpenedRow = replace(opening.rows[0], **changes)
    return replace(opening, rows=(first, *opening.rows[1:]))


WRONG: dict[str, Callable[[StepOpening], StepOpening]] = {
    "state.theta": lambda o: replace(o, state={**o.state, "theta": other(o.state["theta"])}),
    "state.m": lambda o: replace(o, state={**o.state, "m": other(o.state["m"])}),
    "state.v": lambda o: replace(o, state={**o.state, "v": other(o.state["v"])}),
    "gradient": lambda o: replace(o, gradient=other(o.gradient)),
    "error_root": lambda o: replace(o, error_root=b"\x01" * 32),
    "rows[].row": lambda o: with_row(o, row=o.rows[0].row.replace(b"film", b"flim")),
    "rows[].salt": lambda o: with_row(o, salt=b"\x01" * 32),
    "rows[].siblings": lambda o: with_row(o, siblings=(b"\x01" * 32, *o.rows[0].siblings[1:])),
    "rows[].index": lambda o: with_row(o, index=(o.rows[0].index + 1) % 24),
    "rows[] in another order": lambda o: replace(o, rows=o.rows[::-1]),
}
"""By what is shown: the opening with that changed, and the committed records and their proofs as they are."""


@pytest.fixture
def submission(exact_round: Rehearsal) -> Submission:
    return submission_of(exact_round)


def submission_of(round_: Rehearsal) -> Submission:
    return Submission(
        trainer=address(round_.context.trainer), data_root=round_.shard.root, data_rows=len(round_.shard.rows),
        delta_digest=round_.trained.theta_digest, transcript_root=round_.trained.transcript_root,
    )  # fmt: skip


@pytest.fixture
def judged(exact_round: Rehearsal, submission: Submission) -> Callable[[ArtifactStore], Judgement]:
    judges = Judges(exact_round.spec)
    return lambda store: judge_submission(judges, store, exact_round.context, submission, STEPS)


def published(folder: Path, round_: Rehearsal, openings: Sequence[StepOpening]) -> ArtifactStore:
    store = open_store(str(folder))
    store.put_tensors(round_.trained.theta)
    for opening in openings:
        store.put_opening(round_.trained.transcript_root, round_.committed.trainer, opening)
    return store


def attested(judgement: Judgement, verifier: bytes, round_: Rehearsal) -> Attestation:
    return Attestation(
        task=3, round=1, verifier=address(verifier * 20), findings=(judgement.finding,), game=None,
        improvement_nanos=0, next_start_digest=round_.trained.theta_digest,
    )  # fmt: skip


def settled(judgement: Judgement, round_: Rehearsal, submission: Submission) -> SettlementProposal:
    own = RevealedAttestation(attested(judgement, b"\x11", round_), 10)
    return compose_settlement(
        round_.spec, round_.context.data_root, [submission.trainer], [own], scored=False
    )  # fmt: skip


@pytest.mark.parametrize("part", WRONG)
def test_opening_that_shows_another_part_is_withheld_and_not_rejected(
    exact_round: Rehearsal, judged: Callable[[ArtifactStore], Judgement], tmp_path: Path, part: str
) -> None:
    first, second, third = exact_round.openings(STEPS)
    store = published(tmp_path, exact_round, [first, WRONG[part](second), third])
    with pytest.raises(ArtifactAltered):
        store.get_opening(exact_round.committed, StepIndex(STEP))
    finding = judged(store).finding
    assert finding.verdict is Verdict.WITHHELD
    failure = finding.failure()
    assert failure is not None
    assert (failure.step, failure.check) == (STEP, "opening")


@pytest.mark.parametrize("part", WRONG)
def test_mirror_with_the_committed_opening_is_read_whatever_the_other_shows(
    exact_round: Rehearsal, judged: Callable[[ArtifactStore], Judgement], tmp_path: Path, part: str
) -> None:
    right = exact_round.openings(STEPS)
    published(tmp_path / "bad", exact_round, [right[0], WRONG[part](right[1]), right[2]])
    published(tmp_path / "good", exact_round, right)
    for order in ("bad,good", "good,bad"):
        both = open_store(",".join(str(tmp_path / name) for name in order.split(",")))
        assert judged(both).finding.verdict is Verdict.ACCEPTED


@pytest.mark.parametrize("kind", ["mirrors", "one folder"])
def test_opening_shown_wrong_to_verifiers_and_right_to_jurors_turns_no_verdict(
    exact_round: Rehearsal, judged: Callable[[ArtifactStore], Judgement], submission: Submission, tmp_path: Path,
    kind: str,
) -> None:  # fmt: skip
    """Attack: have honest verifiers reject honest work by a copy with one value off; then show what was committed, and
    have every honest juror slash them for it. What they saw is nothing that a settlement can be held against."""
    first, second = str(tmp_path / "a"), str(tmp_path / "b")
    everybody = open_store(f"{first},{second}" if kind == "mirrors" else second)
    late = open_store(first if kind == "mirrors" else second)
    openings = exact_round.openings(STEPS)
    published(Path(second), exact_round, [openings[0], WRONG["state.theta"](openings[1]), openings[2]])
    seen = judged(everybody)
    assert seen.finding.verdict is Verdict.WITHHELD, "which jurors take from the settlement"
    proposal = settled(seen, exact_round, submission)

    late.put_opening(exact_round.trained.transcript_root, submission.trainer, openings[1])
    later = judged(everybody)
    assert later.finding.verdict is Verdict.ACCEPTED
    assert [leaf.verdict for leaf in proposal.leaves] == [Verdict.WITHHELD]


def test_opening_shown_right_to_verifiers_and_wrong_to_jurors_turns_no_verdict(
    exact_round: Rehearsal, judged: Callable[[ArtifactStore], Judgement], submission: Submission, tmp_path: Path
) -> None:
    """Attack: the other way round, so that accepted and paid work is found rejected, and its signers slashed."""
    first, second = tmp_path / "a", tmp_path / "b"
    everybody = open_store(f"{first},{second}")
    openings = exact_round.openings(STEPS)
    published(second, exact_round, openings)
    proposal = settled(judged(everybody), exact_round, submission)
    assert [leaf.verdict for leaf in proposal.leaves] == [Verdict.ACCEPTED]

    wrong = WRONG["gradient"](openings[1])
    open_store(str(first)).put_opening(exact_round.trained.transcript_root, submission.trainer, wrong)
    later = judged(everybody)
    assert later.finding.verdict is Verdict.ACCEPTED
    assert not disagreements(exact_round.spec, attested(later, b"\x22", exact_round), proposal)


def test_row_that_is_enrolled_twice_is_shown_at_the_index_of_the_order_or_not_at_all(
    exact_round: Rehearsal, tmp_path: Path
) -> None:
    """Attack: a shard that holds a row twice, salt and all, so that both indices can be proved, each in one copy."""
    context, committed = exact_round.context, exact_round.committed
    (opening,) = exact_round.openings([STEP])
    due, twin = opening.rows[0].index, next(i for i in range(24) if i not in context.batch(exact_round.spec, STEP))
    leaves = list(exact_round.shard.digests)
    leaves[twin] = leaves[due]
    tree = merkle.levels(leaves)

    def shown_at(index: int, row: OpenedRow) -> OpenedRow:
        return replace(row, index=index, siblings=merkle.proof_from_levels(tree, index))

    rows = [shown_at(row.index, row) for row in opening.rows]
    enrolled = replace(committed, data_root=tree[-1][0])
    store = open_store(str(tmp_path))
    store.put_opening(committed.transcript_root, committed.trainer, replace(opening, rows=tuple(rows)))
    assert store.get_opening(enrolled, StepIndex(STEP)).rows[0].index == due
    rows[0] = shown_at(twin, rows[0])
    assert rows[0].verify(tree[-1][0], 24)
    store.put_opening(committed.transcript_root, committed.trainer, replace(opening, rows=tuple(rows)))
    with pytest.raises(ArtifactAltered, match="batch order"):
        store.get_opening(enrolled, StepIndex(STEP))
