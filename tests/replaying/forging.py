"""Openings as a cheat would have committed them."""

from __future__ import annotations

from dataclasses import replace

import torch

from deltaproof.protocol.evidence.state import StateRoots, component_root
from deltaproof.protocol.evidence.transcript import StepOpening, StepRecord
from deltaproof.protocol.wire import merkle
from deltaproof.replaying.replay import ReplayContext
from deltaproof.tuning.training.optimizers import clip_scale
from deltaproof.tuning.training.recording import transcript_folder
from deltaproof.tuning.training.step import apply_update, state_root
from tests.tuning.rehearsal import Rehearsal

__all__ = ["flipped", "recommitted", "records_of", "with_next_state"]


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def recommitted(round_: Rehearsal, opening: StepOpening, **changes: object) -> tuple[StepOpening, ReplayContext]:
    """The opening as a cheat would have committed it: records and transcript recomputed around the change."""
    changed = replace(opening, **changes)
    roots = {slot: component_root(values) for slot, values in changed.state.items()}
    before = replace(
        changed.before,
        state_root=StateRoots(**roots).root(),
        grad_root=component_root(changed.gradient),
        rows_root=merkle.root([row.digest for row in changed.rows]),
    )
    digests = [record.digest for record in records_of(round_)]
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
    state = {slot: torch.from_numpy(values) for slot, values in opening.state.items()}
    scale = clip_scale(opening.gradient, round_.spec.optimizer.clip_norm)
    following = apply_update(round_.bench, state, opening.before.step, torch.from_numpy(opening.gradient), scale)
    return replace(opening, after=replace(opening.after, state_root=state_root(following)))


def records_of(round_: Rehearsal) -> list[StepRecord]:
    return list(transcript_folder(round_.bench, round_.context, round_.folder).records())
