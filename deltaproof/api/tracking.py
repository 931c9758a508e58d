"""Curves of a role's work in TensorBoard or Weights & Biases, if one is installed.

A reporter that passes every event on and draws what is a number: the loss of each training step, a curve for each
round, and the pay. What is drawn is the role's own word; nothing of the protocol reads it.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from importlib import import_module
from pathlib import Path

from deltaproof.errors import UsageError
from deltaproof.extras import need
from deltaproof.reporting import Reporter

__all__ = ["TRACKERS", "tracked"]

Draw = Callable[[str, float, int], None]
"""A curve's name, a value, and its place on the axis."""


def tracked(report: Reporter, tracker: str, home: Path, role: str) -> Reporter:
    """The same reporter, with curves in a tracker of `TRACKERS`.

    TensorBoard's files go to `HOME/tensorboard/ROLE`; W&B gets one run for each home, which a role that is started
    again goes on with. Raises UsageError for an unknown tracker, or one that is not installed.
    """
    if tracker not in TRACKERS:
        raise UsageError(f"--track is one of {', '.join(TRACKERS)}, not {tracker!r}")
    draw = TRACKERS[tracker](home, role)

    def told(event: str, message: str, **fields: object) -> None:
        report(event, message, **fields)
        round_, task = fields.get("round"), fields.get("task")
        of = f"/task-{task}" if task is not None else ""
        match event, fields:
            case "trained-step", {"loss": float(loss), "step": int(step)}:
                draw(f"loss{of}/round-{round_}", loss, step)
            case "paid", {"payout": str(payout)} if isinstance(round_, int):
                draw(f"pay{of}/smallest-units", float(payout), round_)

    return told


def _tensorboard(home: Path, role: str) -> Draw:
    # Written within a second: a role may be stopped at any moment.
    writer = need("tensorboardX").SummaryWriter(str(home / "tensorboard" / role), flush_secs=1)

    def draw(name: str, value: float, at: int) -> None:
        writer.add_scalar(name, value, at)

    return draw


def _wandb(home: Path, role: str) -> Draw:
    try:
        wandb = import_module("wandb")  # so large that no extra brings it
    except ImportError as error:
        raise UsageError("--track wandb needs wandb: pip install wandb") from error
    known = sha256(f"{home.resolve()}/{role}".encode()).hexdigest()[:16]
    run = wandb.init(project="deltaproof", name=f"{role} in {home.name}", dir=str(home), id=known, resume="allow")

    def draw(name: str, value: float, at: int) -> None:
        # W&B's own steps only grow; a step that is trained again after a restart has its place on an axis of its own.
        run.define_metric(name, step_metric=f"{name}, at")
        run.log({name: value, f"{name}, at": at})

    return draw


TRACKERS: dict[str, Callable[[Path, str], Draw]] = {"tensorboard": _tensorboard, "wandb": _wandb}
"""By the word of `--track`."""
