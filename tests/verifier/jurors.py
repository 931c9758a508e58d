"""Somebody who judges a settlement of a world in which it verified nothing."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from deltaproof.chain.abi.dispute_structs import Case, CasePhase
from deltaproof.protocol.rules import MAX_ATTESTATION_BYTES
from deltaproof.protocol.types import TokenAmount
from tests.worlds.roles import RoleWorld, silent
from verifier.disputes import VerifierDisputes
from verifier.examining import Examiner


def moved(paths: Sequence[Path], source: Path, target: Path) -> None:
    for path in paths:
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(source / path, target / path)


def juror_of(world: RoleWorld) -> VerifierDisputes:
    """Somebody who verified nothing of the round."""
    verifier = world.verifiers[0]
    examiner = Examiner(verifier.spec, world.store, verifier.account, silent)
    return VerifierDisputes(
        verifier.gateway, world.store, world.task, verifier.params, verifier.log, verifier.secret, silent,
        attested=lambda _round: None, kept=lambda *_: None, most_attested=lambda _count: MAX_ATTESTATION_BYTES,
        examiner=examiner, heavy=lambda: verifier.heavy, speaks_for=lambda _task: True,
    )  # fmt: skip


def opinion_of(world: RoleWorld, juror: VerifierDisputes, level: int = 0) -> bool | None:
    """Whether a juror finds the posted settlement wrong, at a level of a case."""
    now, digest = world.gateway.tasks.phase(world.task), world.gateway.posted_digest(world.task)
    return juror.opinions.of(
        Case(CasePhase.SEAL, level, False, world.task, now.round, 0, 0, TokenAmount(0), TokenAmount(0), digest)
    )
