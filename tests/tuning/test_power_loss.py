"""A trainer's process killed without warning, again and again, ends with the root of one that never was."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from deltaproof.protocol.types import hex_of
from deltaproof.tuning.training.workbench import Workbench
from tests.tuning.rehearsal import minimal_spec, rehearse

REPOSITORY = Path(__file__).resolve().parents[2]
TRAINING = {"steps": 12, "batch_size": 8, "accumulation": 4, "numeric": "bounded", "dropout": True}
PROCESS = """
import signal
import sys
from pathlib import Path
import torch
from deltaproof.protocol.types import hex_of
from tests.tuning.rehearsal import minimal_spec, rehearse
from tests.tuning.test_power_loss import TRAINING
from deltaproof.tuning.training.workbench import Workbench

torch.set_num_threads(1)
model, folder, last = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])

def progress(record):
    print(record.step, flush=True)
    if record.step == last:
        signal.pause()  # until it is killed

bench = Workbench.from_spec(minimal_spec(model, training=TRAINING), checkpointing=True)
played = rehearse(bench.spec, folder, bench, checkpoint_every=3, keep_every=12, progress=progress)
print(hex_of(played.trained.transcript_root), flush=True)
"""


def test_killed_trainer_goes_on_to_the_same_root(tmp_path: Path) -> None:
    spec = minimal_spec(tmp_path / "model", training=TRAINING)
    expected = rehearse(spec, tmp_path / "whole", Workbench.from_spec(spec)).trained.transcript_root
    first = [_killed_after(step, tmp_path) for step in (4, 7)]
    assert first == [0, 3], "each life starts at the last checkpoint"
    process = _start(tmp_path, -1)
    lines, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    assert lines.split()[0] == "6"
    assert lines.split()[-1] == hex_of(expected)


def _killed_after(step: int, folder: Path) -> int:
    """The step that a process started with; it is killed when it has done `step`."""
    process = _start(folder, step)
    assert process.stdout is not None
    first: int | None = None
    for line in process.stdout:
        first = int(line) if first is None else first
        if int(line) == step:
            process.send_signal(signal.SIGKILL)
            break
    assert process.wait(60) == -signal.SIGKILL
    process.stdout.close()
    assert first is not None
    return first


def _start(folder: Path, last: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROCESS, str(folder / "model"), str(folder / "round"), str(last)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
