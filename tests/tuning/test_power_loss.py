"""A trainer's process killed without warning, again and again, ends with the root of one that never was."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from deltaproof.protocol.evidence.transcript import StepRecord
from deltaproof.protocol.types import hex_of
from deltaproof.tuning.numerics.workers import new_processes
from deltaproof.tuning.training.workbench import Workbench
from tests.tuning.rehearsal import minimal_spec, rehearse

TRAINING = {"steps": 12, "batch_size": 8, "accumulation": 4, "numeric": "bounded", "dropout": True}
PATIENCE = 300.0


def test_killed_trainer_goes_on_to_the_same_root(tmp_path: Path) -> None:
    spec = minimal_spec(tmp_path / "model", training=TRAINING)
    expected = rehearse(spec, tmp_path / "whole", Workbench.from_spec(spec)).trained.transcript_root
    first = [_killed_after(step, tmp_path) for step in (4, 7)]
    assert first == [0, 3], "each life starts at the last checkpoint"
    process, heard = _start(tmp_path, -1)
    told = list(_told(heard))
    process.join(PATIENCE)
    assert process.exitcode == 0
    assert told[0] == 6
    assert told[-1] == hex_of(expected)


def _killed_after(step: int, folder: Path) -> object:
    """The step that a process started with; it is killed when it has done `step`."""
    process, heard = _start(folder, step)
    first: object = None
    for seen in _told(heard):
        first = seen if first is None else first
        if seen == step:
            process.kill()
            break
    process.join(PATIENCE)
    assert process.exitcode == -signal.SIGKILL
    return first


def _told(heard: Connection) -> Iterator[object]:
    """The steps and the root that a process tells until it ends."""
    with suppress(EOFError):
        while True:
            assert heard.poll(PATIENCE)
            yield heard.recv()


def _start(folder: Path, last: int) -> tuple[BaseProcess, Connection]:
    processes = new_processes("cpu")
    heard, telling = processes.Pipe(duplex=False)
    process = processes.Process(target=_train, args=(folder, last, telling))
    process.start()
    telling.close()
    return process, heard


def _train(folder: Path, last: int, telling: Connection) -> None:
    """In a process of its own: train on, and wait to be killed when step `last` is done."""
    torch.set_num_threads(1)

    def progress(record: StepRecord) -> None:
        telling.send(record.step)
        if record.step == last:
            signal.pause()

    bench = Workbench.from_spec(minimal_spec(folder / "model", training=TRAINING), checkpointing=True)
    played = rehearse(bench.spec, folder / "round", bench, checkpoint_every=3, keep_every=12, progress=progress)
    telling.send(hex_of(played.trained.transcript_root))
