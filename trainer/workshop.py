"""Where a trainer's heavy work is done: training, encoding, opening. It knows the round's terms, and no chain."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deltaproof.agent.homes import size_on_disk
from deltaproof.chain.abi.dispute_structs import ChunkOpening
from deltaproof.chain.abi.enums import Component
from deltaproof.chain.abi.structs import RoundView
from deltaproof.protocol.commit.sealing import TranscriptSecret
from deltaproof.protocol.evidence.rows import Shard
from deltaproof.protocol.evidence.state import Vector
from deltaproof.protocol.evidence.transcript import StepRecord
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import ZERO_DIGEST, Address, Digest32, RoundIndex, TaskId, address_bytes
from deltaproof.reporting import Pace, Reporter, counted, span
from deltaproof.store import ArtifactStore, open_store
from deltaproof.tuning.codecs import EncodedDelta
from deltaproof.tuning.training.federation import as_held_by
from deltaproof.tuning.training.recording import TrainedRound, transcript_folder
from deltaproof.tuning.training.step import DrawnRound, RoundContext
from deltaproof.tuning.training.transcript_writer import MAX_HEADER_BYTES, most_transcript_bytes
from deltaproof.tuning.training.workbench import Workbench
from trainer.answers import chunk_opening
from trainer.conduct import Conduct, RoundWork

__all__ = ["Done", "Workshop"]

DIGEST_NAME = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Done:
    """A round's finished work; `delta` is None under the codec `float32`, where the adapter itself travels."""

    order_seed: Digest32
    trained: TrainedRound
    delta: EncodedDelta | None

    @property
    def delta_digest(self) -> Digest32:
        """What the commitment seals of the delta."""
        return self.delta.digest if self.delta else self.trained.theta_digest


class Workshop:
    """Model, data and folders of one trainer in one task."""

    def __init__(
        self,
        spec: TaskSpec,
        account: Address,
        shard: Shard,
        store: ArtifactStore,
        folder: Path,
        conduct: Conduct,
        report: Reporter,
        *,
        checkpointing: bool,
        device: str = "cpu",
    ) -> None:
        """`folder` keeps the transcripts, and what a codec carries from round to round."""
        self.spec, self.account, self.shard, self.store = spec, account, shard, store
        self.folder, self.conduct, self.report = folder, conduct, report
        self.bench = Workbench.from_spec(as_held_by(spec, account), device, checkpointing=checkpointing)

    def context(self, task_id: TaskId, round_: RoundIndex, view: RoundView, error_root: Digest32) -> RoundContext:
        """The round as the training step knows it."""
        drawn = DrawnRound(task_id, round_, view.order_seed, view.start_digest)
        return drawn.with_shard(address_bytes(self.account), self.shard, error_root)

    def work(self, context: RoundContext) -> RoundWork:
        """Everything that the round needs. The start is the transcript's, once there is one.

        Raises ArtifactError if it cannot be had, TranscriptError if the home is damaged.
        """
        folder = self._folder(context)
        transcript = transcript_folder(self.bench, context, folder)
        if transcript.begun:
            start = transcript.start_theta()
        else:
            start = self.store.get_tensors(Digest32(context.start_digest), self.bench.layout.size)
        return RoundWork(self.bench, context, start, self.shard, folder)

    def trained_context(
        self, task_id: TaskId, round_: RoundIndex, view: RoundView, transcript_root: Digest32
    ) -> RoundContext | None:
        """The round as it was trained here to this transcript, by the memories that the home has of the round before.

        None if this home does not hold that work. Which memory it took in, else only the store knows.
        """
        for error_root in (ZERO_DIGEST, *self._memory_roots(round_ - 1)):
            context = self.context(task_id, round_, view, error_root)
            transcript = transcript_folder(self.bench, context, self._folder(context))
            if transcript.complete and transcript.root() == transcript_root:
                return context
        return None

    def bytes_of_a_round(self) -> int:
        """How much a round adds to the home, at most."""
        size = self.bench.layout.size
        # Whatever is written whole or not at all lies there twice for a moment.
        carried = 0 if self.bench.codec.plain else 2 * (4 * size + MAX_HEADER_BYTES)
        return most_transcript_bytes(self.spec.training.steps, len(self.bench.slots), size) + carried

    def missing_bytes(self, context: RoundContext) -> int:
        """How much training this round still adds, at most; nothing for one that is trained."""
        folder = self._folder(context)
        if transcript_folder(self.bench, context, folder).complete:
            return 0
        return max(0, self.bytes_of_a_round() - size_on_disk(folder))

    def train(
        self,
        context: RoundContext,
        between_steps: Callable[[], None],
        seconds_left: Callable[[], float | None] = lambda: None,
    ) -> Done:
        """Train all steps, or find what was trained before a restart, and encode what travels.

        Says once if the pace of the first steps is too slow for the `seconds_left` of the phase, where they are known.
        """
        work, round_, steps = self.work(context), context.round, self.spec.training.steps
        self.report("training", f"round {round_}: training {counted(steps, 'step')}", round=round_)
        pace, warned = Pace(), False

        def progress(record: StepRecord) -> None:
            nonlocal warned
            done = record.step + 1
            needed, left = pace.seconds(done, steps), seconds_left()
            if not warned and needed is not None and left is not None and needed > left:
                warned = True
                self.report(
                    "too-slow", f"round {round_}: at this pace training takes {span(int(needed))} more and the phase "
                    f"has {span(int(left))}: this round will be late. A GPU (--device), other work off this machine, "
                    "or a task with longer phases would help; `deltaproof doctor` measures",
                    round=round_, seconds=int(needed), seconds_left=int(left),
                )  # fmt: skip
            message = f"round {round_}: step {done}/{steps}, loss {record.loss:.3f}{pace.left(done, steps)}"
            self.report("trained-step", message, round=round_, step=record.step, loss=record.loss)
            between_steps()

        trained = self.conduct.train(work, progress)
        delta = None
        if not self.bench.codec.plain:
            delta = self.bench.codec.encode(work.start, trained.theta, self.memory(context), context.key)
            if delta.memory is not None:
                self._memories(context.round).put_tensors(delta.memory)
        return Done(Digest32(context.order_seed), trained, delta)

    def publish(self, done: Done) -> None:
        """Put into the store what the reveal names."""
        if done.delta:
            self.store.put_delta(done.delta.data)
        else:
            self.store.put_tensors(done.trained.theta)

    def open(
        self,
        context: RoundContext,
        done: Done,
        steps: Sequence[int],
        between_steps: Callable[[], None],
        secret: TranscriptSecret | None = None,
    ) -> Sequence[int]:
        """Put the openings of the given steps into the store, sealed if there is a secret; returns the steps."""
        if (memory := self.memory(context)) is not None:
            self.store.put_tensors(memory)
        for opening in self.conduct.open(self.work(context), steps):
            self.store.put_opening(done.trained.transcript_root, self.account, opening, secret)
            between_steps()
        return steps

    def chunk(self, context: RoundContext, step: int, component: Component, chunk: int) -> ChunkOpening:
        """What answers a demand for one chunk: see `chunk_opening`."""
        return chunk_opening(self.work(context), self.conduct, self.memory(context), step, component, chunk)

    def memory(self, context: RoundContext) -> Vector | None:
        """What earlier deltas lost and this round feeds back. Raises ArtifactError if the home has lost it."""
        if context.error_root == ZERO_DIGEST:
            return None
        return self._memories(context.round - 1).get_tensors(Digest32(context.error_root), self.bench.layout.size)

    def _folder(self, context: RoundContext) -> Path:
        # Named by what decides its content; the number is for people.
        return self.folder / f"round-{context.round}-{context.identity(self.spec).hex()[:16]}"

    def _memories(self, round_: int) -> ArtifactStore:
        """What deltas of a round left for the next one; apart by round, so that `Pruner` can tell their age."""
        return open_store(str(self._memory_folder(round_)))

    def _memory_roots(self, round_: int) -> Sequence[Digest32]:
        """Of several memories after a reorganisation, all; what is no memory fits no transcript."""
        names = (path.name for path in sorted(self._memory_folder(round_).rglob("*")))
        return [Digest32(bytes.fromhex(name)) for name in names if DIGEST_NAME.fullmatch(name)]

    def _memory_folder(self, round_: int) -> Path:
        return self.folder / f"memory-{round_}"
