"""What a cheat makes up and commits to, with all hashes right: only a replay catches it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from deltaproof.protocol.evidence.rows import Shard
from deltaproof.protocol.evidence.transcript import StepOpening
from deltaproof.protocol.rules import ROUNDING_MARGIN
from deltaproof.protocol.types import Digest32
from deltaproof.replaying import comparison
from deltaproof.replaying.gradient_check import Gradient, Recomputation, check_gradient
from deltaproof.replaying.refusal import Refused
from deltaproof.replaying.replay import Judge
from tests.replaying.forging import recommitted, with_next_state
from tests.tuning.rehearsal import Rehearsal, context_for, some_rows


def test_made_up_gradient_is_refused(exact_round: Rehearsal, judge: Judge, opening: StepOpening) -> None:
    noise = np.random.default_rng(0).standard_normal(opening.gradient.size).astype(np.float32) * np.float32(1e-3)
    made_up = with_next_state(exact_round, replace(opening, gradient=noise))
    tampered, context = recommitted(exact_round, made_up)
    verdict = judge.judge_step(tampered, 2, context)
    assert verdict.failed == "gradient"
    assert verdict.magnitude > 1e6


def test_smallest_change_of_one_gradient_value_is_refused(
    exact_round: Rehearsal, judge: Judge, opening: StepOpening
) -> None:
    """Exact mode leaves nothing: one value moved by one float32 step."""
    index = int(np.argmax(np.abs(opening.gradient)))
    gradient = opening.gradient.copy()
    gradient[index] = np.nextafter(gradient[index], np.float32(np.inf))
    tampered, context = recommitted(exact_round, with_next_state(exact_round, replace(opening, gradient=gradient)))
    verdict = judge.judge_step(tampered, 2, context)
    assert verdict.failed == "gradient"
    assert "off by" in verdict.message


def test_near_tie_is_accepted_and_counted(exact_round: Rehearsal, judge: Judge, opening: StepOpening) -> None:
    """A committed value on the other side of the midpoint, where the recomputed one is within float64 noise of it."""
    from deltaproof.protocol.rules import TIE_NOISE
    from deltaproof.replaying.comparison import compare_exact

    bench = judge.reference
    bench.load(opening.state["theta"])
    wide, _ = bench.gradient([row.row for row in opening.rows], bytes(32))
    recomputed = wide.numpy().copy()
    rms = float(np.linalg.norm(recomputed)) / np.sqrt(recomputed.size)
    index = int(np.argmin(np.abs(np.abs(recomputed) - rms)))
    low = np.float32(recomputed[index])
    high = np.nextafter(low, np.float32(np.inf))
    middle = (float(low) + float(high)) / 2
    committed = recomputed.astype(np.float32)
    committed[index] = high
    for offset, accepted in ((-0.5 * TIE_NOISE * rms, True), (-20 * TIE_NOISE * rms, False)):
        recomputed[index] = middle + offset
        agreement = compare_exact(committed, recomputed, bench.layout)
        assert agreement.agrees is accepted
        assert agreement.near_ties == 1


def test_what_rounding_does_at_an_ill_conditioned_state_is_measured_and_explained(
    judge: Judge, opening: StepOpening, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a rate of 1 attention saturates, and float64 itself is off by more than any fixed share: honest steps of
    MiniLM were refused at 1.1 times `TIE_NOISE`. This small model rounds far below it, so here it is nothing."""
    bench, rows = judge.reference, [row.row for row in opening.rows]
    again = Recomputation(bench, None, {"theta": torch.from_numpy(opening.state["theta"])}, rows, bytes(32), bytes(32))
    values, rounding = again.reference.values.copy(), again.wide_rounding
    assert 0.0 < rounding.max() < 1e-12 * np.abs(values).max(), "of float64, not of float32"
    monkeypatch.setattr(comparison, "TIE_NOISE", 0.0)
    index = int(np.argmax(rounding))
    low = np.float32(values[index])
    high = np.nextafter(low, np.float32(np.inf))
    committed = values.astype(np.float32)
    committed[index] = high
    for times, accepted in ((0.5, True), (2.0, False)):
        values[index] = (float(low) + float(high)) / 2 - times * ROUNDING_MARGIN * rounding[index]
        again._kept[True, 1] = Gradient(values.copy(), again.reference.loss)
        loss = float(np.float32(again.reference.loss))
        if accepted:
            assert check_gradient(committed, loss, again, None, thorough=False)[0].near_ties == 1
        else:
            with pytest.raises(Refused, match="what rounding explains"):
                check_gradient(committed, loss, again, None, thorough=False)


@pytest.mark.parametrize("slot", ["theta", "m", "v"])
def test_wrong_optimiser_step_is_refused(exact_round: Rehearsal, judge: Judge, opening: StepOpening, slot: str) -> None:
    changed = opening.state[slot].copy()
    changed[7] += np.float32(0.01)
    tampered, context = recommitted(exact_round, opening, state={**opening.state, slot: changed})
    verdict = judge.judge_step(tampered, 2, context)
    assert verdict.failed == "optimizer"
    honest = judge.judge_step(opening, 2, exact_round.replay_context)
    assert honest.accepted


def test_moments_smuggled_into_the_first_step_are_refused(exact_round: Rehearsal, judge: Judge) -> None:
    (first,) = exact_round.openings([0])
    smuggled = first.state["m"].copy()
    smuggled[3] = 1.0
    state = {**first.state, "m": smuggled}
    tampered, context = recommitted(exact_round, with_next_state(exact_round, replace(first, state=state)))
    assert judge.judge_step(tampered, 0, context).failed == "start"
    other_start = {**first.state, "theta": first.state["theta"] + np.float32(0.01)}
    tampered, context = recommitted(exact_round, with_next_state(exact_round, replace(first, state=other_start)))
    assert judge.judge_step(tampered, 0, context).failed == "start"


def test_delta_that_is_not_the_final_state_is_refused(exact_round: Rehearsal, judge: Judge) -> None:
    (last,) = exact_round.openings([5])
    context = replace(exact_round.replay_context, theta_digest=bytes(32))
    verdict = judge.judge_step(last, 5, context)
    assert verdict.failed == "delta"


def test_final_record_holds_nothing_else(exact_round: Rehearsal, judge: Judge) -> None:
    (last,) = exact_round.openings([5])
    tampered, context = recommitted(exact_round, replace(last, after=replace(last.after, loss=1.0)))
    assert judge.judge_step(tampered, 5, context).failed == "record"


def test_false_loss_is_refused(exact_round: Rehearsal, judge: Judge, opening: StepOpening) -> None:
    false = replace(opening, before=replace(opening.before, loss=float(np.float32(opening.before.loss * 0.999))))
    tampered, context = recommitted(exact_round, false)
    assert judge.judge_step(tampered, 2, context).failed == "loss"


def test_rows_of_another_shard_or_order_are_refused(exact_round: Rehearsal, judge: Judge, opening: StepOpening) -> None:
    easy = Shard(some_rows("sequence-classification")[::-1], Digest32(bytes(32)))
    other = tuple(easy.open(row.index) for row in opening.rows)
    tampered, context = recommitted(exact_round, opening, rows=other)
    assert judge.judge_step(tampered, 2, context).failed == "rows"
    tampered, context = recommitted(exact_round, opening, rows=opening.rows[::-1])
    verdict = judge.judge_step(tampered, 2, context)
    assert verdict.failed == "rows"
    assert "batch order" in verdict.message


@pytest.mark.parametrize(
    "row", [b'{"text":"no label"}', b'{"label":7,"text":"x"}', b'{"label":1,"text":"x"} ', b"\xff"]
)
def test_row_that_is_no_row_is_a_verdict(exact_round: Rehearsal, tmp_path: Path, row: bytes) -> None:
    """A trainer may enrol anything as data; a verifier must not fall over it."""
    rows = (row, *exact_round.shard.rows[1:])
    shard = Shard(rows, Digest32(bytes(32)))
    context = context_for(exact_round.bench, shard)
    step = next(s for s in range(6) if 0 in context.batch(exact_round.spec, s))
    (honest,) = exact_round.openings([step])
    shown = replace(honest, rows=tuple(shard.open(i) for i in context.batch(exact_round.spec, step)))
    tampered, replay = recommitted(exact_round, shown)
    verdict = exact_round.judge().judge_step(tampered, step, replace(replay, round=context))
    assert verdict.failed == "rows"


def test_nan_in_an_opening_in_memory_is_refused(exact_round: Rehearsal, judge: Judge, opening: StepOpening) -> None:
    broken = opening.gradient.copy()
    broken[0] = np.nan
    assert judge.judge_step(replace(opening, gradient=broken), 2, exact_round.replay_context).failed == "state"


def test_garbage_is_a_verdict(exact_round: Rehearsal, judge: Judge) -> None:
    for data in (b"", b"garbage", bytes(10_000), b"\x80\x04pickle"):
        verdict = judge.judge_bytes(data, 2, exact_round.replay_context)
        assert verdict.failed == "format"
        assert verdict.message.startswith("step 2: the opening is malformed")
        assert verdict.as_dict()["accepted"] is False
