"""Error feedback over rounds: the memory is part of what is committed, and a delta made with another one is refused."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from deltaproof.chain.memory import memory_after
from deltaproof.errors import StoreUnavailable
from deltaproof.protocol.evidence.delta import DELTA_HEADER_BYTES, pack_delta
from deltaproof.protocol.evidence.rows import Shard
from deltaproof.protocol.evidence.state import Vector, component_root
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.types import ZERO_DIGEST, Digest32, address
from deltaproof.replaying.judges import Judges
from deltaproof.replaying.judging import Judgement, Submission, judge_submission
from deltaproof.store import ArtifactStore, open_store
from deltaproof.store.backend import LocalBackend
from deltaproof.tuning.codecs import EncodedDelta
from deltaproof.tuning.training.recording import TrainedRound, open_steps, train_round
from deltaproof.tuning.training.step import RoundContext
from deltaproof.tuning.training.workbench import Workbench
from tests.tuning.rehearsal import context_for, minimal_spec, some_rows

STEPS = (0, 3, 5)


@dataclass
class FeedbackTrainer:
    """One trainer over rounds, with the store that a verifier reads."""

    bench: Workbench
    judges: Judges
    shard: Shard
    store: ArtifactStore
    folder: Path

    def train(self, number: int, start: Vector, error_root: bytes) -> tuple[RoundContext, TrainedRound]:
        context = context_for(
            self.bench, self.shard, round=number, start_digest=component_root(start), error_root=error_root
        )
        folder = self.folder / f"round-{number}-{error_root.hex()[:8]}"
        trained = train_round(self.bench, context, start, self.shard, folder)
        self.store.put_tensors(start)
        for opening in open_steps(self.bench, context, self.shard, folder, STEPS):
            self.store.put_opening(trained.transcript_root, address(context.trainer), opening)
        return context, trained

    def encode(
        self, context: RoundContext, start: Vector, trained: TrainedRound, memory: Vector | None
    ) -> EncodedDelta:
        sent = self.bench.codec.encode(start, trained.theta, memory, context.key)
        assert sent.memory is not None
        self.store.put_tensors(sent.memory)
        return sent

    def judged(self, context: RoundContext, trained: TrainedRound, data: bytes, expected: bytes) -> Judgement:
        """What a verifier says who takes `expected` from the chain as the root of the memory."""
        submission = Submission(
            trainer=address(context.trainer),
            data_root=self.shard.root,
            data_rows=len(self.shard.rows),
            delta_digest=self.store.put_blob(data),
            transcript_root=trained.transcript_root,
            error_root=Digest32(expected),
        )
        return judge_submission(self.judges, self.store, context, submission, STEPS)


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> FeedbackTrainer:
    folder = tmp_path_factory.mktemp("feedback")
    codec = {"name": "top_k|two_bit", "options": {"fraction": 0.05, "error_feedback": True}}
    spec = minimal_spec(folder / "model", codec=codec)
    shard = Shard(some_rows(spec.model.kind), Digest32(bytes(32)))
    store = open_store(str(folder / "store"))
    return FeedbackTrainer(Workbench.from_spec(spec), Judges(spec), shard, store, folder)


def verdict_of(judgement: Judgement) -> tuple[Verdict, str]:
    failure = judgement.finding.failure()
    return judgement.finding.verdict, "" if failure is None else failure.message


def test_memory_goes_on_over_three_rounds_and_each_is_accepted(trainer: FeedbackTrainer) -> None:
    start, memory, meant = trainer.bench.initial_state(), None, np.zeros(trainer.bench.layout.size)
    first = start.astype(np.float64)
    for number in (1, 2, 3):
        root = ZERO_DIGEST if memory is None else component_root(memory)
        context, trained = trainer.train(number, start, root)
        sent = trainer.encode(context, start, trained, memory)
        judgement = trainer.judged(context, trained, sent.data, root)
        assert verdict_of(judgement) == (Verdict.ACCEPTED, "")
        assert judgement.theta is not None
        assert np.array_equal(judgement.theta, sent.theta)
        meant += trained.theta.astype(np.float64) - start
        start, memory = sent.theta, sent.memory
        assert np.count_nonzero(memory)
    assert memory is not None
    # Nothing is lost for good: what was sent and what is still remembered add up to what three rounds meant.
    assert np.allclose(start - first + memory, meant, atol=1e-5)


@pytest.fixture(scope="module")
def second(trainer: FeedbackTrainer) -> tuple[RoundContext, TrainedRound, Vector, Vector]:
    """A second round after an accepted first: context, training, start, memory."""
    begun = trainer.bench.initial_state()
    context, trained = trainer.train(1, begun, ZERO_DIGEST)
    sent = trainer.encode(context, begun, trained, None)
    assert sent.memory is not None
    return *trainer.train(2, sent.theta, component_root(sent.memory)), sent.theta, sent.memory


@pytest.mark.parametrize("cheat", ["forgets", "doubles", "flips"])
def test_a_delta_made_with_another_memory_is_rejected(
    trainer: FeedbackTrainer, second: tuple[RoundContext, TrainedRound, Vector, Vector], cheat: str
) -> None:
    context, trained, start, memory = second
    other = {"forgets": None, "doubles": 2 * memory, "flips": -memory}[cheat]
    data = trainer.encode(context, start, trained, other).data
    verdict, message = verdict_of(trainer.judged(context, trained, data, context.error_root))
    assert verdict is Verdict.REJECTED
    assert "not the encoding" in message


def test_a_delta_that_names_another_memory_to_go_on_with_is_rejected(
    trainer: FeedbackTrainer, second: tuple[RoundContext, TrainedRound, Vector, Vector]
) -> None:
    context, trained, start, memory = second
    honest = trainer.encode(context, start, trained, memory)
    for root in (ZERO_DIGEST, component_root(memory)):
        data = pack_delta(root, honest.data[DELTA_HEADER_BYTES:])
        verdict, message = verdict_of(trainer.judged(context, trained, data, context.error_root))
        assert (verdict, "not the encoding" in message) == (Verdict.REJECTED, True)


def test_a_transcript_that_commits_to_another_memory_is_rejected(
    trainer: FeedbackTrainer, second: tuple[RoundContext, TrainedRound, Vector, Vector]
) -> None:
    _, _, start, memory = second
    context, trained = trainer.train(2, start, ZERO_DIGEST)
    data = trainer.encode(context, start, trained, None).data
    verdict, message = verdict_of(trainer.judged(context, trained, data, component_root(memory)))
    assert verdict is Verdict.REJECTED
    assert "error-feedback memory is not the round's" in message


def test_a_memory_that_nobody_can_read_is_withheld(
    trainer: FeedbackTrainer, second: tuple[RoundContext, TrainedRound, Vector, Vector], tmp_path: Path
) -> None:
    context, trained, start, memory = second
    elsewhere = replace(trainer, store=open_store(str(tmp_path / "store")), folder=tmp_path)
    elsewhere.train(2, start, context.error_root)
    data = trainer.encode(context, start, trained, memory).data
    verdict, message = verdict_of(elsewhere.judged(context, trained, data, context.error_root))
    assert verdict is Verdict.WITHHELD
    assert "cannot be used" in message


def test_store_that_does_not_answer_loses_nobody_its_memory(trainer: FeedbackTrainer) -> None:
    """Else an outage at the wrong moment would call an honest trainer withheld."""

    class Silent(LocalBackend):
        def read(self, path: str, max_bytes: int) -> bytes:
            raise StoreUnavailable(path, "no answer")

    store = ArtifactStore(Silent(trainer.folder / "store"))
    with pytest.raises(StoreUnavailable):
        memory_after(store, trainer.bench.spec, Digest32(bytes(32)))
    assert memory_after(trainer.store, trainer.bench.spec, Digest32(bytes(32))) is None
