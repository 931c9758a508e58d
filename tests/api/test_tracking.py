"""What a trainer tells is drawn, read back with the reader of the file format, and passed on unchanged."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event

from deltaproof.api.tracking import tracked
from deltaproof.errors import UsageError

PATIENCE = 120.0


def points(folder: Path) -> list[tuple[str, int, float]]:
    """Every scalar of TensorBoard's files: records of a length, its checksum, the event, and its checksum."""
    found = []
    for file in sorted(folder.rglob("events.*")):
        data = file.read_bytes()
        while data:
            (size,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + size])
            found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
            data = data[16 + size :]
    return found


def test_losses_and_pay_are_drawn_and_passed_on(tmp_path: Path) -> None:
    heard: list[tuple[str, str, dict[str, object]]] = []

    def hear(event: str, message: str, **fields: object) -> None:
        heard.append((event, message, fields))

    report = tracked(hear, "tensorboard", tmp_path, "t")
    report("trained-step", "step 1", round=2, step=0, loss=0.75)
    report("trained-step", "step 2", task=7, round=2, step=1, loss=0.5)
    report("paid", "paid", round=2, payout=str(3 * 10**18))
    report("paid", "a verifier's", round=2, fee="1")
    assert [event for event, _, _ in heard] == ["trained-step", "trained-step", "paid", "paid"]
    assert heard[0][2] == {"round": 2, "step": 0, "loss": 0.75}
    until = time.monotonic() + PATIENCE
    while len(points(tmp_path)) < 3 and time.monotonic() < until:
        time.sleep(0.05)  # a thread of the library writes
    assert points(tmp_path) == [
        ("loss/round-2", 0, 0.75),
        ("loss/task-7/round-2", 1, 0.5),
        ("pay/smallest-units", 2, pytest.approx(3e18)),
    ]


def test_tracker_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="tensorboard, wandb"):
        tracked(lambda event, message, **fields: None, "paper", tmp_path, "t")
