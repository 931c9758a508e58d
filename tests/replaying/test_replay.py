"""Replays: every honest step is accepted, every kind of tampering fails at the check that is meant for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deltaproof.errors import EncodingError
from deltaproof.protocol.evidence.rows import Shard
from deltaproof.protocol.evidence.state import Layout, component_root
from deltaproof.protocol.evidence.transcript import RECORD_BYTES, StepOpening, StepRecord, serialize_opening
from deltaproof.protocol.terms.spec import TrainingSection
from deltaproof.protocol.types import Digest32
from deltaproof.protocol.wire import merkle
from deltaproof.replaying.drift import DriftSample, judge_drift, noise_steps
from deltaproof.replaying.pool import ReplayJob, replay_many
from deltaproof.replaying.replay import Judge, ReplayContext, StepVerdict
from deltaproof.tuning.training.recording import open_steps, train_round
from deltaproof.tuning.training.workbench import Workbench
from tests.tuning.rehearsal import Rehearsal, context_for, minimal_spec, rehearse, some_rows

SLOW = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def judge(exact_round: Rehearsal) -> Judge:
    return exact_round.judge()


@pytest.fixture(scope="module")
def opening(exact_round: Rehearsal) -> StepOpening:
    return exact_round.openings([2])[0]


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def recommitted(round_: Rehearsal, opening: StepOpening, **changes: object) -> tuple[StepOpening, ReplayContext]:
    """The opening as a cheat would have committed it: records and transcript recomputed around the change."""
    changed = replace(opening, **changes)
    roots = {slot: component_root(values) for slot, values in changed.state.items()}
    from deltaproof.protocol.evidence.state import StateRoots

    before = replace(
        changed.before,
        state_root=StateRoots(**roots).root(),
        grad_root=component_root(changed.gradient),
        rows_root=merkle.root([row.digest for row in changed.rows]),
    )
    digests = [record.digest for record in _records(round_)]
    digests[before.step], digests[before.step + 1] = before.digest, changed.after.digest
    changed = replace(
        changed,
        before=before,
        before_proof=merkle.proof(digests, before.step),
        after_proof=merkle.proof(digests, before.step + 1),
    )
    return changed, replace(round_.replay_context, transcript_root=merkle.root(digests), theta_digest=None)


def with_next_state(round_: Rehearsal, opening: StepOpening) -> StepOpening:
    """The next state recomputed with the exact optimiser, as a careful cheat would."""
    import torch

    from deltaproof.tuning.training.optimizers import clip_scale
    from deltaproof.tuning.training.step import apply_update, state_root

    state = {slot: torch.from_numpy(values) for slot, values in opening.state.items()}
    scale = clip_scale(opening.gradient, round_.spec.optimizer.clip_norm)
    following = apply_update(round_.bench, state, opening.before.step, torch.from_numpy(opening.gradient), scale)
    return replace(opening, after=replace(opening.after, state_root=state_root(following)))


def _records(round_: Rehearsal) -> list[StepRecord]:
    from deltaproof.tuning.training.recording import transcript_folder

    return list(transcript_folder(round_.bench, round_.context, round_.folder).records())


# Honest steps


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam", "adamw"])
@pytest.mark.parametrize("numeric", ["exact", "bounded"])
def test_honest_steps_are_accepted(bert_folder: Path, tmp_path: Path, name: str, numeric: str) -> None:
    spec = minimal_spec(
        bert_folder,
        optimizer={"name": name, "clip_norm": 0.05, "weight_decay": 0.1},
        training={"numeric": numeric, **({"bound_total": 1e-4} if numeric == "bounded" else {})},
    )
    round_ = rehearse(spec, tmp_path / "round")
    judge = round_.judge()
    openings = round_.openings(range(6))
    assert min(opening.before.clip_scale for opening in openings) < 1.0, "clipping was at work"
    for opening in openings:
        verdict = judge.judge_bytes(serialize_opening(opening), opening.before.step, round_.replay_context)
        assert verdict.accepted, verdict.message


# Tampering that hashes catch


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


# Tampering that only a replay catches: the cheat commits to what it made up


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


# Bounded mode


def push(
    round_: Rehearsal, opening: StepOpening, direction: np.ndarray, size: float
) -> tuple[StepOpening, ReplayContext]:
    scaled = direction / np.linalg.norm(direction) * size * np.linalg.norm(opening.gradient)
    gradient = (opening.gradient + scaled).astype(np.float32)
    return recommitted(round_, with_next_state(round_, replace(opening, gradient=gradient)))


def test_push_beyond_the_bound_is_refused(bounded_round: Rehearsal) -> None:
    judge = bounded_round.judge()
    direction = np.random.default_rng(1).standard_normal(bounded_round.bench.layout.size)
    for opening in bounded_round.openings([1, 4]):
        tampered, context = push(bounded_round, opening, direction, 1e-3)
        verdict = judge.judge_step(tampered, opening.before.step, context)
        assert verdict.failed == "gradient"
        assert verdict.magnitude > verdict.bound


def test_push_on_a_tensor_without_gradient_is_refused(bounded_round: Rehearsal) -> None:
    """LoRA's A has exactly no gradient while B is zero; Adam would turn any push there into a full step."""
    (first,) = bounded_round.openings([0])
    layout = bounded_round.bench.layout
    name = next(name for name in layout.names if "lora_A" in name)
    direction = np.zeros(layout.size)
    direction[layout.slices[name]] = 1.0
    tampered, context = push(bounded_round, first, direction, 1e-9)
    assert bounded_round.judge().judge_step(tampered, 0, context).failed == "gradient"


def verdicts_under(
    round_: Rehearsal, attack: Callable[[StepOpening], tuple[StepOpening, ReplayContext]]
) -> list[StepVerdict]:
    judge = round_.judge()
    return [judge.judge_step(*_judged(attack(opening), opening.before.step)) for opening in round_.openings(range(6))]


def _judged(attacked: tuple[StepOpening, ReplayContext], step: int) -> tuple[StepOpening, int, ReplayContext]:
    return attacked[0], step, attacked[1]


def test_steady_push_inside_the_bound_is_caught_by_the_drift_test(bounded_round: Rehearsal) -> None:
    layout = bounded_round.bench.layout
    direction = np.zeros(layout.size)
    head = layout.slices[next(name for name in layout.names if "classifier" in name and name.endswith("weight"))]
    direction[head] = np.random.default_rng(2).standard_normal(head.stop - head.start)

    def steered(opening: StepOpening) -> tuple[StepOpening, ReplayContext]:
        return push(bounded_round, opening, direction, 7e-6)

    verdicts = verdicts_under(bounded_round, steered)
    assert all(verdict.accepted for verdict in verdicts), "each single step is inside the bound"
    drift = judge_drift([v.drift for v in verdicts if v.drift], bounded_round.spec.training, layout)
    assert not drift.accepted
    assert "lean in " in drift.message

    honest = verdicts_under(bounded_round, lambda opening: (opening, bounded_round.replay_context))
    assert judge_drift([v.drift for v in honest if v.drift], bounded_round.spec.training, layout).accepted


FLAT = Layout.of({"large": (1900,), "small": (100,)})
TRAINING = TrainingSection(steps=1000, batch_size=1, numeric="bounded")


def drift_sample(generator: np.random.Generator, along: float = 0.0, small: float = 0.0) -> DriftSample:
    """Rounding noise of 1e-6, a tenth of it in the small tensor, plus pushes."""
    scale = np.where(np.arange(2000) < 1900, 1e-6 / np.sqrt(1900), 1e-7 / np.sqrt(100))
    gradient = generator.standard_normal(2000) * np.where(np.arange(2000) < 1900, 1.0, 0.04)
    gradient /= np.linalg.norm(gradient)
    difference = generator.standard_normal(2000) * scale + along * gradient
    difference[1900:] += small / 10
    along_ = float(difference @ gradient)
    return DriftSample(difference.astype(np.float32), along_, 1.0, (1.0, 0.01), 1e-6, (1e-6, 1e-7))


def test_drift_along_a_turning_gradient_is_seen() -> None:
    generator = np.random.default_rng(3)
    assert judge_drift([drift_sample(generator) for _ in range(40)], TRAINING, FLAT).accepted
    leaning = judge_drift([drift_sample(generator, along=4e-6) for _ in range(40)], TRAINING, FLAT)
    assert not leaning.accepted
    assert "along the gradient" in leaning.message


def test_drift_that_drowns_in_the_whole_is_seen_in_its_tensor() -> None:
    leaning = judge_drift([drift_sample(np.random.default_rng(i), small=3e-7) for i in range(40)], TRAINING, FLAT)
    assert leaning.steady < leaning.noise
    assert not leaning.accepted
    assert leaning.where == "in one direction in small"


def test_coarser_rounding_of_another_machine_is_no_drift() -> None:
    """One MKL code path rounds some batches ten times as coarsely as another, always in the same direction."""
    coarse = [drift_sample(np.random.default_rng(i), small=3e-7) for i in range(40)]
    calibrated = TRAINING.model_copy(update={"bound_tensor": 1e-3})  # what calibration gives where that is so
    assert judge_drift(coarse, calibrated, FLAT).accepted
    assert not judge_drift(
        [drift_sample(np.random.default_rng(i), small=3e-6) for i in range(40)], calibrated, FLAT
    ).accepted


def test_noise_is_measured_over_the_whole_round() -> None:
    assert noise_steps((0, 3, 8, 20, 99)) == {0, 8, 99}
    assert noise_steps((0,)) == {0}
    assert noise_steps(()) == frozenset()


def test_drift_needs_a_yardstick() -> None:
    with pytest.raises(ValueError, match="noise"):
        judge_drift([DriftSample(np.zeros(2000, np.float32), 0.0, 1.0, (1.0, 0.01))], TRAINING, FLAT)


# Many replays


def test_pool_gives_the_same_verdicts_in_the_same_order(exact_round: Rehearsal) -> None:
    openings = {step: serialize_opening(o) for step, o in enumerate(exact_round.openings(range(6)))}
    openings[4] = flipped(openings[4], 12_345)
    jobs = [ReplayJob(exact_round.replay_context, step, openings[step]) for step in (5, 0, 4, 1)]
    inline = list(replay_many(exact_round.spec, jobs))
    assert [verdict.step for verdict in inline] == [5, 0, 4, 1]
    assert [verdict.accepted for verdict in inline] == [True, True, False, True]
    assert list(replay_many(exact_round.spec, jobs, workers=2, backend="processes")) == inline


def test_honest_steps_on_learnt_data_are_accepted(bert_folder: Path, tmp_path: Path) -> None:
    """`softmax - 1` in float32 is off by 6e-8 / loss; the last step is always sampled."""
    spec = minimal_spec(
        bert_folder,
        method={"name": "bitfit", "options": {}},
        optimizer={"name": "adam", "learning_rate": 0.3},
        training={"steps": 6, "numeric": "bounded", "bound_total": 1e-5, "bound_tensor": 5e-5},
    )
    bench = Workbench.from_spec(spec)
    shard = Shard(tuple(row for row in some_rows(spec.model.kind) if b'"label":1' in row), Digest32(bytes(32)))
    context = context_for(bench, shard)
    trained = train_round(bench, context, bench.initial_state(), shard, tmp_path / "round")
    assert min(trained.losses) < 1e-7, "the data is learnt"
    judge, replay_context = Judge.from_spec(spec), ReplayContext(context, trained.transcript_root, trained.theta_digest)
    for opening in open_steps(bench, context, shard, tmp_path / "round", range(6)):
        verdict = judge.judge_step(opening, opening.before.step, replay_context)
        assert verdict.accepted, verdict.message
