"""The trainer's evidence on disk: every record, a few states, and a checkpoint to resume from.

    round.json               what the transcript belongs to, and how often states are kept
    start.safetensors        the starting adapter
    records.bin              records 0..N, 112 bytes each, appended as training goes
    kept/<t>.safetensors     every k-th state, with the gradient of its step
    checkpoint.safetensors   the latest durable state, until training ends
    final.safetensors        the adapter after step N-1

Memory does not grow with the number of steps. A crash, or a disk that is full for a moment, loses at most the steps
since the newest state on disk, checkpoint or kept; the same machine repeats them bit for bit, so the root is the same.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from deltaproof.errors import EncodingError
from deltaproof.folders import write_whole
from deltaproof.protocol.evidence.state import Vector
from deltaproof.protocol.evidence.transcript import RECORD_BYTES, StepRecord
from deltaproof.protocol.types import Digest32, hex_of
from deltaproof.protocol.wire import merkle
from deltaproof.protocol.wire.encoding import canonical_json, parse_json
from deltaproof.protocol.wire.tensorfile import read_header, write_vectors
from deltaproof.tuning.errors import TranscriptError
from deltaproof.tuning.training.optimizers import State

__all__ = ["MAX_HEADER_BYTES", "TranscriptFolder", "default_keep_every", "most_transcript_bytes"]

MAX_HEADER_BYTES = 4096
"""Of the description and of each vector file, at most."""
_GRADIENT = "grad"
ALWAYS_KEPT_STEPS = 64


def default_keep_every(steps: int) -> int:
    """Keep every state of a short round; of a long one none but start and end, regenerating on challenge."""
    return 1 if steps <= ALWAYS_KEPT_STEPS else steps


def most_transcript_bytes(steps: int, slots: int, size: int) -> int:
    """Bytes that a round's transcript takes on disk at any moment, at most: `slots` vectors of `size` values a state.

    Start, final adapter, a checkpoint and the next one, what is kept, and a kept state that is being written.
    """
    every = default_keep_every(steps)
    kept = -(-steps // every) + 1 if every < steps else 0
    files, vectors = kept + 5, 2 + 2 * slots + kept * (slots + 1)
    return 4 * size * vectors + files * MAX_HEADER_BYTES + RECORD_BYTES * (steps + 1)


class TranscriptFolder:
    """One round's transcript on disk. A single process writes it."""

    def __init__(self, folder: Path, identity: bytes, steps: int, slots: tuple[str, ...], size: int) -> None:
        self.folder, self.identity, self.steps, self.slots, self.size = folder, identity, steps, slots, size
        self.keep_every = steps

    def begin(self, start: Vector, keep_every: int | None = None) -> None:
        """Make the folder, or find it as this round left it. Raises TranscriptError if it holds another round."""
        description = self.folder / "round.json"
        if description.is_file():
            self.keep_every = self._read_description()
            return
        self.keep_every = keep_every or default_keep_every(self.steps)
        (self.folder / "kept").mkdir(parents=True, exist_ok=True)
        self._write_state(self.folder / "start.safetensors", {"theta": torch.from_numpy(start)}, 0)
        (self.folder / "records.bin").write_bytes(b"")
        write_whole(
            description,
            canonical_json({"identity": hex_of(self.identity), "steps": self.steps, "keep_every": self.keep_every}),
        )

    def open_existing(self) -> None:
        """Raises TranscriptError unless the folder holds this round, complete."""
        if not (self.folder / "round.json").is_file():
            raise TranscriptError(f"no transcript in {self.folder}")
        self.keep_every = self._read_description()
        if not self.complete:
            raise TranscriptError(
                f"training in {self.folder} has not ended: {self._records_size() // RECORD_BYTES} records"
            )

    @property
    def begun(self) -> bool:
        """Whether the folder holds a transcript, maybe not all of it."""
        return (self.folder / "round.json").is_file()

    @property
    def complete(self) -> bool:
        """Whether the round was trained to its end."""
        return (self.folder / "final.safetensors").is_file()

    def resume(self) -> tuple[int, State]:
        """The step to go on with and the state before it, the newest on disk; later records are dropped."""
        step, state = 0, self.start_state()
        checkpoint = self.folder / "checkpoint.safetensors"
        if checkpoint.is_file():
            step, state = self._read_state(checkpoint)
        if (kept := self._newest_kept()) > step:
            step, state = self._read_state(self._kept(kept))
        if self._records_size() < step * RECORD_BYTES:
            raise TranscriptError(f"{self.folder}: the checkpoint is at step {step}, beyond the records")
        os.truncate(self.folder / "records.bin", step * RECORD_BYTES)
        return step, state

    def start_state(self) -> State:
        """The state before the first step: the starting adapter, moments zero."""
        theta = torch.from_numpy(self.start_theta())
        return {slot: theta.clone() if slot == "theta" else torch.zeros_like(theta) for slot in self.slots}

    def start_theta(self) -> Vector:
        """The adapter before the first step, shape (P,). Raises TranscriptError."""
        return self._read_vectors(self.folder / "start.safetensors", ("theta",))[1]["theta"].numpy()

    def append(self, record: StepRecord, state: State, gradient: Vector) -> None:
        """Add record t, whose state before the step is `state` and whose committed gradient is `gradient`."""
        keeps = self.keep_every < self.steps and record.step % self.keep_every == 0
        with (self.folder / "records.bin").open("ab") as file:
            file.write(record.encode())
            if keeps:  # training may go on from the state, and then needs all records before it
                file.flush()
                os.fsync(file.fileno())
        if keeps:
            kept = {**state, _GRADIENT: torch.from_numpy(gradient)}
            self._write_state(self._kept(record.step), kept, record.step)

    def checkpoint(self, step: int, state: State) -> None:
        """Make everything before `step` durable."""
        with (self.folder / "records.bin").open("ab") as file:
            os.fsync(file.fileno())
        self._write_state(self.folder / "checkpoint.safetensors", state, step)

    def finish(self, record: StepRecord, state: State) -> None:
        """Add record N and the final adapter; the transcript is complete."""
        with (self.folder / "records.bin").open("ab") as file:
            file.write(record.encode())
            file.flush()
            os.fsync(file.fileno())
        self._write_state(self.folder / "final.safetensors", {"theta": state["theta"]}, self.steps)
        (self.folder / "checkpoint.safetensors").unlink(missing_ok=True)

    def records(self) -> Iterator[StepRecord]:
        """Records in order, read one at a time."""
        with (self.folder / "records.bin").open("rb") as file:
            while data := file.read(RECORD_BYTES):
                yield StepRecord.decode(data)

    def record_digests(self) -> list[Digest32]:
        """Digests of all records, in order. Raises TranscriptError if some are missing."""
        digests = [record.digest for record in self.records()]
        if len(digests) != self.steps + 1:
            raise TranscriptError(
                f"{self.folder}: {len(digests)} records where a complete transcript has {self.steps + 1}"
            )
        return digests

    def root(self) -> Digest32:
        """The transcript root. Raises TranscriptError."""
        return merkle.root(self.record_digests())

    def final_theta(self) -> Vector:
        """The adapter after the last step, shape (P,). Raises TranscriptError."""
        return self._read_vectors(self.folder / "final.safetensors", ("theta",))[1]["theta"].numpy()

    def nearest_kept(self, step: int) -> int:
        """The latest step at or before `step` of which the state is on disk."""
        return step - step % self.keep_every

    def kept_state(self, step: int) -> State:
        """The state before `nearest_kept(step)`."""
        nearest = self.nearest_kept(step)
        return self._read_state(self._kept(nearest))[1] if nearest else self.start_state()

    def kept_step(self, step: int) -> tuple[State, Vector] | None:
        """State and gradient of a step, if both are on disk."""
        if not self._kept(step).is_file():
            return None
        vectors = self._read_vectors(self._kept(step), (*self.slots, _GRADIENT))[1]
        return {slot: vectors[slot] for slot in self.slots}, vectors[_GRADIENT].numpy()

    def evidence_bytes(self) -> int:
        """Bytes on disk."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def _kept(self, step: int) -> Path:
        return self.folder / "kept" / f"{step}.safetensors"

    def _newest_kept(self) -> int:
        """The latest step whose state is on disk, with all records before it; 0 if there is none."""
        names = (path.stem for path in (self.folder / "kept").glob("*.safetensors"))
        steps = (int(name) for name in names if name.isdecimal())
        return max((step for step in steps if step * RECORD_BYTES <= self._records_size()), default=0)

    def _records_size(self) -> int:
        return (self.folder / "records.bin").stat().st_size

    def _read_description(self) -> int:
        path = self.folder / "round.json"
        try:
            fields = parse_json(path.read_bytes(), max_bytes=MAX_HEADER_BYTES)
        except EncodingError as error:
            raise TranscriptError(f"{path}: {error}") from error
        match fields:
            case {"identity": identity, "steps": self.steps, "keep_every": int(keep)} if identity == hex_of(
                self.identity
            ):
                return keep
            case _:
                raise TranscriptError(f"{self.folder} holds the transcript of another round, task or trainer")

    def _write_state(self, path: Path, state: State, step: int) -> None:
        vectors = {slot: values.detach().cpu().numpy() for slot, values in state.items()}
        write_whole(path, write_vectors(vectors, {"step": str(step)}))

    def _read_state(self, path: Path) -> tuple[int, State]:
        return self._read_vectors(path, self.slots)

    def _read_vectors(self, path: Path, slots: tuple[str, ...]) -> tuple[int, State]:
        try:
            header = read_header(path.read_bytes(), max_header_bytes=MAX_HEADER_BYTES)
            return int(header.metadata["step"]), {
                slot: torch.from_numpy(np.asarray(header.float32_vector(slot, self.size))) for slot in slots
            }
        except (OSError, EncodingError, KeyError, ValueError) as error:
            raise TranscriptError(f"{path}: {error}") from error
