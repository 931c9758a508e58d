"""Openings that were altered: hashes catch every bit, before anything is replayed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deltaproof.errors import EncodingError
from deltaproof.protocol.evidence.transcript import RECORD_BYTES, StepOpening, StepRecord, serialize_opening
from deltaproof.replaying.replay import Judge
from tests.replaying.forging import flipped
from tests.tuning.rehearsal import Rehearsal, minimal_spec

SLOW = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(data=st.data())
@SLOW
def test_flipped_bit_anywhere_in_an_opening_is_refused(
    exact_round: Rehearsal, judge: Judge, opening: StepOpening, data: st.DataObject
) -> None:
    encoded = serialize_opening(opening)
    bit = data.draw(st.integers(0, 8 * len(encoded) - 1))
    verdict = judge.judge_bytes(flipped(encoded, bit), 2, exact_round.replay_context)
    assert not verdict.accepted


@pytest.mark.parametrize("part", ["theta", "m", "v", "gradient"])
@given(data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_flipped_bit_in_a_tensor_is_refused(
    exact_round: Rehearsal, judge: Judge, opening: StepOpening, part: str, data: st.DataObject
) -> None:
    vector = opening.gradient if part == "gradient" else opening.state[part]
    raw = flipped(vector.tobytes(), data.draw(st.integers(0, 32 * vector.size - 1)))
    changed = np.frombuffer(raw, dtype=np.float32).copy()
    if part == "gradient":
        tampered = replace(opening, gradient=changed)
    else:
        tampered = replace(opening, state={**opening.state, part: changed})
    verdict = judge.judge_step(tampered, 2, exact_round.replay_context)
    assert verdict.failed == ("gradient digest" if part == "gradient" else "state")


@given(bit=st.integers(0, 8 * RECORD_BYTES - 1), which=st.sampled_from(["before", "after"]))
@SLOW
def test_flipped_bit_in_a_record_is_refused(
    exact_round: Rehearsal, judge: Judge, opening: StepOpening, bit: int, which: str
) -> None:
    record: StepRecord = getattr(opening, which)
    try:
        changed = StepRecord.decode(flipped(record.encode(), bit))
    except EncodingError:
        return  # a number that is not finite
    verdict = judge.judge_step(replace(opening, **{which: changed}), 2, exact_round.replay_context)
    assert verdict.failed in ("record", "transcript")


@given(st.integers(0, 1), st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_flipped_bit_in_a_proof_is_refused(
    exact_round: Rehearsal, judge: Judge, opening: StepOpening, which: int, data: st.DataObject
) -> None:
    name = ("before_proof", "after_proof")[which]
    proof = list(getattr(opening, name))
    place = data.draw(st.integers(0, len(proof) - 1))
    proof[place] = flipped(proof[place], data.draw(st.integers(0, 255)))
    verdict = judge.judge_step(replace(opening, **{name: tuple(proof)}), 2, exact_round.replay_context)
    assert verdict.failed == "transcript"


@given(bit=st.integers(0, 255), field=st.sampled_from(["transcript", "data", "start", "theta", "seed"]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_flipped_bit_in_the_context_is_refused(exact_round: Rehearsal, judge: Judge, bit: int, field: str) -> None:
    context, round_context = exact_round.replay_context, exact_round.context
    step = {"theta": 5, "start": 0}.get(field, 2)
    match field:
        case "transcript":
            context = replace(context, transcript_root=flipped(context.transcript_root, bit))
        case "theta":
            context = replace(context, theta_digest=flipped(context.theta_digest or b"", bit))
        case "data":
            context = replace(context, round=replace(round_context, data_root=flipped(round_context.data_root, bit)))
        case "start":
            context = replace(
                context, round=replace(round_context, start_digest=flipped(round_context.start_digest, bit))
            )
        case _:
            context = replace(context, round=replace(round_context, order_seed=flipped(round_context.order_seed, bit)))
    (shown,) = exact_round.openings([step])
    assert not judge.judge_step(shown, step, context).accepted


@pytest.mark.parametrize(
    "change",
    [{"task_id": 4}, {"round": 2}, {"trainer": bytes(20)}, {"order_seed": bytes(32)}],
    ids=lambda change: next(iter(change)),
)
def test_transcript_of_another_task_round_or_trainer_is_refused(
    exact_round: Rehearsal, judge: Judge, opening: StepOpening, change: dict[str, object]
) -> None:
    context = replace(exact_round.replay_context, round=replace(exact_round.context, **change))
    assert judge.judge_step(opening, 2, context).failed == "rows"


def test_other_spec_is_refused(exact_round: Rehearsal, opening: StepOpening, bert_folder: Path) -> None:
    """Hyper-parameters come from the spec: a transcript made with others fails, whichever they are."""
    (first,) = exact_round.openings([0])
    for sections, shown, failed in (
        ({"optimizer": {"learning_rate": 1.1e-3}}, opening, "optimizer"),
        ({"optimizer": {"beta2": 0.99}}, opening, "optimizer"),
        ({"optimizer": {"name": "sgd"}}, opening, "state"),
        ({"optimizer": {"clip_norm": 1e-3}}, opening, "clipping"),
        ({"training": {"batch_size": 3}}, opening, "rows"),
        ({"training": {"steps": 9}}, opening, "transcript"),
        ({"method": {"options": {"r": 2}}}, opening, "state"),
        ({"method": {"options": {"r": 4, "lora_alpha": 9}}}, opening, "gradient"),
        ({"model": {"max_tokens": 8}}, first, "gradient"),
    ):
        other = Judge.from_spec(minimal_spec(bert_folder, **sections))  # type: ignore[arg-type]
        step = shown.before.step
        verdict = other.judge_step(shown, step, exact_round.replay_context)
        assert verdict.failed is not None, sections
        assert verdict.failed == failed, (sections, verdict)


def test_wrong_step_or_record_is_refused(exact_round: Rehearsal, judge: Judge, opening: StepOpening) -> None:
    context = exact_round.replay_context
    assert judge.judge_step(opening, 3, context).failed == "record"
    assert judge.judge_step(opening, 6, context).failed == "record"
    skipped = replace(opening, after=exact_round.openings([4])[0].before)
    assert judge.judge_step(skipped, 2, context).failed == "record"
    swapped = replace(opening, before_proof=opening.after_proof)
    assert judge.judge_step(swapped, 2, context).failed == "transcript"
