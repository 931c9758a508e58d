"""A trainer's round: crash and resume, regeneration, evidence on disk, refusals."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import peft
import pytest
import torch
import transformers

from deltaproof.errors import EncodingError
from deltaproof.protocol.evidence.rows import Shard, canonical_row
from deltaproof.protocol.evidence.state import Layout, component_root
from deltaproof.protocol.evidence.transcript import RECORD_BYTES, StepRecord, serialize_opening
from deltaproof.tuning.errors import DivergenceError, RowError, TranscriptError
from deltaproof.tuning.training.recording import open_steps, train_round
from deltaproof.tuning.training.transcript_writer import MAX_HEADER_BYTES, TranscriptFolder, most_transcript_bytes
from deltaproof.tuning.training.workbench import Workbench
from tests.tuning.rehearsal import Rehearsal, context_for, minimal_spec, rehearse, some_rows


class Crash(Exception):
    """Stands for a killed process."""


def test_round_lowers_the_loss_and_commits_to_its_end(exact_round: Rehearsal) -> None:
    trained = exact_round.trained
    assert trained.theta_digest == component_root(trained.theta)
    assert not np.array_equal(trained.theta, exact_round.bench.initial_state())
    assert len(trained.losses) == exact_round.spec.training.steps


@pytest.mark.parametrize("architecture", ["bert", "llama", "vit"])
def test_training_learns(tmp_path: Path, architecture: str) -> None:
    spec = minimal_spec(
        tmp_path / "model",
        architecture,  # type: ignore[arg-type]
        training={"steps": 80, "batch_size": 8, "numeric": "bounded"},
        optimizer={"learning_rate": 0.01},
    )
    losses = rehearse(spec, tmp_path / "round").trained.losses
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) - 0.05


@pytest.mark.parametrize("keep_every", [1, 4, 6])
@pytest.mark.parametrize("crash_at", range(6))
def test_crash_at_any_step_resumes_to_the_same_root(
    exact_round: Rehearsal, tmp_path: Path, crash_at: int, keep_every: int
) -> None:
    def crash(record: StepRecord) -> None:
        if record.step == crash_at:
            raise Crash

    start = exact_round.bench.initial_state()
    arguments = (exact_round.bench, exact_round.context, start, exact_round.shard, tmp_path / "round")
    with pytest.raises(Crash):
        train_round(*arguments, keep_every=keep_every, checkpoint_every=2, progress=crash)
    steps: list[int] = []
    again = train_round(*arguments, checkpoint_every=2, progress=lambda record: steps.append(record.step))
    assert again.transcript_root == exact_round.trained.transcript_root
    assert np.array_equal(again.theta, exact_round.trained.theta)
    checkpoint, kept = min((crash_at + 1) // 2 * 2, 4), crash_at - crash_at % keep_every
    assert steps[0] == max(checkpoint, kept), "only the steps since the newest state are repeated"
    assert train_round(*arguments).transcript_root == again.transcript_root, "a complete round is not trained again"


def test_round_shorter_than_a_checkpoint_gets_done_although_every_second_step_fails(
    exact_round: Rehearsal, tmp_path: Path
) -> None:
    """As on a disk that is full every other moment."""
    steps: list[int] = []

    def fail(record: StepRecord) -> None:
        steps.append(record.step)
        if len(steps) % 2 == 0:
            raise OSError(errno.ENOSPC, "no space left on device")

    start = exact_round.bench.initial_state()
    arguments = (exact_round.bench, exact_round.context, start, exact_round.shard, tmp_path / "round")
    for _ in range(exact_round.spec.training.steps - 1):
        with pytest.raises(OSError, match="no space left"):
            train_round(*arguments, progress=fail)
    assert train_round(*arguments, progress=fail).transcript_root == exact_round.trained.transcript_root
    assert steps == [0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_torn_write_after_the_checkpoint_is_dropped(exact_round: Rehearsal, tmp_path: Path) -> None:
    def crash(record: StepRecord) -> None:
        if record.step == 4:
            raise Crash

    start, folder = exact_round.bench.initial_state(), tmp_path / "round"
    arguments = (exact_round.bench, exact_round.context, start, exact_round.shard, folder)
    with pytest.raises(Crash):
        train_round(*arguments, checkpoint_every=2, progress=crash)
    with (folder / "records.bin").open("ab") as file:
        file.write(b"half a record")
    assert train_round(*arguments).transcript_root == exact_round.trained.transcript_root


@pytest.mark.parametrize("steps", [1, 6, 66])
def test_transcript_never_takes_more_on_disk_than_was_said_before(tmp_path: Path, steps: int) -> None:
    """At every step, files that are being written included; and not much less, else limits would refuse in vain."""
    size, slots = 4000, ("theta", "m", "v")
    writer = TranscriptFolder(tmp_path / "round", bytes(32), steps, slots, size)
    values = np.zeros(size, dtype=np.float32)
    state = {slot: torch.from_numpy(values) for slot in slots}
    writer.begin(values)
    seen = []
    for step in range(steps):
        writer.append(StepRecord(step, bytes(32), bytes(32), bytes(32), 0.5, 1.0), state, values)
        writer.checkpoint(step + 1, state)
        seen.append(writer.evidence_bytes())
    writer.finish(StepRecord(steps, bytes(32), bytes(32), bytes(32), 0.0, 0.0), state)
    most = most_transcript_bytes(steps, len(slots), size)
    in_flight = 4 * size * (len(slots) + 1)  # one file lies there twice while it is replaced
    assert max([*seen, writer.evidence_bytes()]) + in_flight <= most <= 2.5 * max(seen) + 10 * MAX_HEADER_BYTES


@pytest.mark.parametrize("keep_every", [1, 4, 6])
def test_openings_do_not_depend_on_what_was_kept(exact_round: Rehearsal, tmp_path: Path, keep_every: int) -> None:
    start, folder = exact_round.bench.initial_state(), tmp_path / "round"
    shared = (exact_round.bench, exact_round.context)
    train_round(*shared, start, exact_round.shard, folder, keep_every=keep_every)
    openings = list(open_steps(*shared, exact_round.shard, folder, [5, 0, 3]))
    assert [opening.before.step for opening in openings] == [0, 3, 5]
    expected = [serialize_opening(opening) for opening in exact_round.openings([0, 3, 5])]
    assert [serialize_opening(opening) for opening in openings] == expected


def test_regeneration_notices_that_it_does_not_repeat(exact_round: Rehearsal, tmp_path: Path) -> None:
    start, folder = exact_round.bench.initial_state(), tmp_path / "round"
    shared = (exact_round.bench, exact_round.context)
    train_round(*shared, start, exact_round.shard, folder, keep_every=6)
    data = bytearray((folder / "records.bin").read_bytes())
    data[2 * RECORD_BYTES + 40] ^= 1  # in the gradient's root of record 2
    (folder / "records.bin").write_bytes(bytes(data))
    with pytest.raises(TranscriptError, match="step 2 does not repeat"):
        list(open_steps(*shared, exact_round.shard, folder, [2]))


def test_kept_step_that_is_not_the_recorded_one_is_noticed(exact_round: Rehearsal, tmp_path: Path) -> None:
    start, folder = exact_round.bench.initial_state(), tmp_path / "round"
    shared = (exact_round.bench, exact_round.context)
    train_round(*shared, start, exact_round.shard, folder, keep_every=1)
    kept = folder / "kept" / "2.safetensors"
    data = bytearray(kept.read_bytes())
    data[-1] ^= 1  # in the last value of a vector
    kept.write_bytes(bytes(data))
    with pytest.raises(TranscriptError, match="step 2 is not the one that was recorded"):
        list(open_steps(*shared, exact_round.shard, folder, [2]))


def test_folder_of_another_round_is_refused(exact_round: Rehearsal, tmp_path: Path) -> None:
    other = context_for(exact_round.bench, exact_round.shard, round=2)
    with pytest.raises(TranscriptError, match="another round"):
        train_round(exact_round.bench, other, exact_round.bench.initial_state(), exact_round.shard, exact_round.folder)
    with pytest.raises(TranscriptError, match="no transcript"):
        list(open_steps(exact_round.bench, exact_round.context, exact_round.shard, tmp_path / "none", [0]))


def test_wrong_start_or_shard_is_refused(exact_round: Rehearsal, tmp_path: Path) -> None:
    bench, context, shard = exact_round.bench, exact_round.context, exact_round.shard
    with pytest.raises(EncodingError, match="starting adapter"):
        train_round(bench, context, bench.initial_state() + 1, shard, tmp_path / "a")
    with pytest.raises(EncodingError, match="shard"):
        train_round(bench, context, bench.initial_state(), Shard(shard.rows[:-1], shard.secret), tmp_path / "b")


def test_divergence_is_said_not_recorded(bert_folder: Path, tmp_path: Path) -> None:
    spec = minimal_spec(bert_folder, optimizer={"name": "sgd", "weight_decay": 0.5})
    # No spec may ask for such a rate; what diverges more slowly takes too long for a test.
    spec = spec.model_copy(update={"optimizer": spec.optimizer.model_copy(update={"learning_rate": 1e38})})
    with pytest.raises(DivergenceError, match=r"step \d+"):
        rehearse(spec, tmp_path / "round")


def test_accumulation_gives_the_gradient_of_the_whole_batch(bert_folder: Path, llama_folder: Path) -> None:
    for folder, architecture in ((bert_folder, "bert"), (llama_folder, "llama")):
        rows = some_rows("causal-lm" if architecture == "llama" else "sequence-classification")[:8]
        gradients = []
        for parts in (1, 2, 8):
            training = {"batch_size": 8, "accumulation": parts}
            bench = Workbench.from_spec(minimal_spec(folder, architecture, training=training))  # type: ignore[arg-type]
            gradients.append(bench.gradient(rows, bytes(32)))
        for values, loss in gradients[1:]:
            assert torch.allclose(values, gradients[0][0], rtol=1e-10, atol=1e-14)
            assert loss == pytest.approx(gradients[0][1], rel=1e-12)


def test_dropout_depends_on_the_step_alone(bert_folder: Path, tmp_path: Path) -> None:
    spec = minimal_spec(bert_folder, training={"dropout": True})
    first, second = (rehearse(spec, tmp_path / name) for name in "ab")
    assert first.trained.transcript_root == second.trained.transcript_root
    bench, rows = first.bench, first.shard.rows[:4]
    bench.load(bench.initial_state())
    keys = [first.context.dropout_key(step) for step in (0, 0, 1)]
    torch.manual_seed(5)
    one, same, other = (bench.gradient(rows, key)[0] for key in keys)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    judge = first.judge()
    assert all(judge.judge_step(o, o.before.step, first.replay_context).accepted for o in first.openings(range(6)))


def test_exported_adapter_loads_in_peft_and_gives_the_same_outputs(exact_round: Rehearsal, tmp_path: Path) -> None:
    bench = exact_round.bench
    bench.export(exact_round.trained.theta, tmp_path / "adapter")
    inputs = bench.tokenizer(["a kind film", "a dull one"], padding=True, return_tensors="pt")
    base = transformers.AutoModelForSequenceClassification.from_pretrained(
        exact_round.spec.model.source.removeprefix("path:"), num_labels=2, attn_implementation="eager"
    )
    loaded = peft.PeftModel.from_pretrained(base, str(tmp_path / "adapter")).double().eval()
    with torch.no_grad():
        expected, found = bench.model(**inputs).logits, loaded(**inputs).logits
    assert torch.allclose(expected, found, atol=1e-6)


@pytest.mark.parametrize(("values", "steps"), [(74_498, 2000), (921_600, 2000)])
def test_evidence_is_two_thousand_times_smaller_than_every_state(tmp_path: Path, values: int, steps: int) -> None:
    """MiniLM's and SmolLM2's LoRA under Adam with the default k. The gradient is left out, which makes it harder."""
    layout = Layout.of({"w": (values,)})
    writer = TranscriptFolder(tmp_path / "round", bytes(32), steps, ("theta", "m", "v"), layout.size)
    theta = np.zeros(values, dtype=np.float32)
    writer.begin(theta)
    state = writer.start_state()
    for step in range(steps):
        writer.append(StepRecord(step, bytes(32), clip_scale=1.0), state, theta)
        if step == 1000:
            writer.checkpoint(step + 1, state)
    writer.finish(StepRecord(steps, bytes(32)), state)
    every_state = steps * 3 * 4 * values
    assert writer.evidence_bytes() * 2000 < every_state
    assert len(writer.record_digests()) == steps + 1


def test_row_that_leaves_nothing_to_predict_is_refused(llama_folder: Path) -> None:
    """A prompt as long as `max_tokens` has no loss and no gradient, and would be paid the floor for it."""
    spec = minimal_spec(llama_folder, "llama", model={"max_tokens": 4})
    bench = Workbench.from_spec(spec)
    rows = [canonical_row({"prompt": "a prompt of many more words than that", "completion": "x"})] * 2
    with pytest.raises(RowError, match="2 rows of the batch leave nothing to predict"):
        bench.gradient(rows, bytes(32), parts=1)
