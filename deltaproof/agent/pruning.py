"""What no deadline needs any more is removed from a home: transcripts, carried memories, attestations, leaves.

A round's work can be asked for while somebody may demand it, and until every demand that was made in time is over.
After the round's end a demand is accepted only if all of its time to answer lies within the slash period; before the
end, at any moment. So nothing is asked for later than `Pruner.needed_until`, and votes are over before a round can end.
What the next round goes on from stays as long as that round is needed, and what pay is claimed with until there is none
to claim. The role that works in one task looks now and then after its home's other tasks, too: the process of an
earlier one has ended before its last deadlines did.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deltaproof.agent.homes import MIB, marked_folders, size_on_disk
from deltaproof.agent.loop import Moment
from deltaproof.chain import Gateway
from deltaproof.chain.abi.enums import Phase
from deltaproof.protocol.types import RoundIndex, TaskId
from deltaproof.reporting import Reporter, about_task

__all__ = ["Needless", "Pruner"]

WORK = re.compile(r"(round|memory|attestation|report|proposal|claim|signed)-(\d{1,10})(-[0-9a-f]{16})?(\.partial)?")
"""What roles keep of a round: a trainer's transcripts, what its codec carries on and what it
signed for a relay, a verifier's attestations and reports; settled leaves, all of them or the trainer's own."""
CARRIED = "memory"
"""Made in one round and needed in the next."""
PAYS = ("proposal", "claim")
"""Needed also while somebody can be paid by it."""
OTHERS_SECONDS = 3600
"""Between looks at the home's other tasks, and at pay that was still to be claimed, by the chain's clock."""


@dataclass(frozen=True, slots=True)
class Needless:
    """A file or folder of a home that nobody can ask for any more; `size` in bytes."""

    path: Path
    round: RoundIndex
    size: int


class Pruner:
    """Looks after the folder of one task."""

    def __init__(self, gateway: Gateway, task_id: TaskId, folder: Path, report: Reporter) -> None:
        self.gateway, self.task_id, self.folder, self.report = gateway, task_id, folder, report
        self._until: dict[RoundIndex, int] = {}
        """Of rounds that have ended: seconds since the epoch."""
        self._unpaid: dict[RoundIndex, int] = {}
        """When rounds with pay to claim are looked at again."""
        self._others_at = 0

    def mind(self, moment: Moment) -> None:
        """Remove what is needless at the block that is looked at; no clock but the chain's counts."""
        now = moment.block.timestamp
        self.prune(now)
        if now >= self._others_at:
            self._others_at = now + OTHERS_SECONDS
            for task, folder in marked_folders(self.folder.parent, self.gateway).items():
                if task != self.task_id:
                    Pruner(self.gateway, task, folder, about_task(self.report, task)).prune(now)

    def prune(self, now: int) -> Sequence[Needless]:
        """Remove what is needless at a time of the chain; returns what it was."""
        removed = self.needless(now)
        for work in removed:
            _remove(work.path)
        if removed:
            rounds = ", ".join(map(str, sorted({work.round for work in removed})))
            freed = sum(work.size for work in removed)
            message = f"removed work of round {rounds}, {freed / MIB:.1f} MiB: no deadline needs it any more"
            self.report("pruned", message, bytes=freed)
        return removed

    def needless(self, now: int) -> Sequence[Needless]:
        """What is there that nobody can ask for at `now` or later."""
        found = []
        kept = ((path, WORK.fullmatch(path.name)) for path in sorted(self.folder.glob("*-*")))
        for path, name in ((path, name) for path, name in kept if name is not None):
            round_ = RoundIndex(int(name[2]))
            over = self._is_over(round_, now, carried=name[1] == CARRIED)
            if over and (name[1] not in PAYS or self._is_claimed(round_, now)):
                found.append(Needless(path, round_, size_on_disk(path)))
        return found

    def _is_over(self, round_: RoundIndex, now: int, *, carried: bool) -> bool:
        last = self.gateway.tasks.phase(self.task_id).round
        if carried and not (round_ == last and self.gateway.tasks.is_ended(self.task_id)):
            return self._is_over(RoundIndex(round_ + 1), now, carried=False)
        if round_ not in self._until:
            until = self.needed_until(round_)
            if until is None:
                return False
            self._until[round_] = until
        if self._until[round_] >= now:
            return False
        # What was read at an earlier block may have been reorganised away.
        del self._until[round_]
        until = self.needed_until(round_)
        return until is not None and until < now

    def _is_claimed(self, round_: RoundIndex, now: int) -> bool:
        """Whether nothing is left to claim of an ended round, or the time to claim is over."""
        if now < self._unpaid.get(round_, 0):
            return False
        pot = self.gateway.vault.pot(self.task_id, round_)
        if pot.remaining and now <= pot.expires_at:
            self._unpaid[round_] = now + OTHERS_SECONDS
            return False
        return True

    def needed_until(self, round_: RoundIndex) -> int | None:
        """Until when a round's work can be asked for, seconds since the epoch; None while nobody can know."""
        view = self.gateway.tasks.phase(self.task_id)
        if round_ > view.round or (round_ == view.round and view.phase is not Phase.IDLE):
            return None
        ended = self.gateway.tasks.round(self.task_id, round_).ended_at
        if not ended:
            return None
        slashable = self.gateway.terms.params(self.task_id).phases.slash
        return ended + max(slashable, self.gateway.court.params().answer_seconds)


def _remove(path: Path) -> None:
    """A file or folder; one that is gone already was removed by another process of the same home."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, onerror=_unless_gone)
    else:
        path.unlink(missing_ok=True)


def _unless_gone(_function: object, _path: str, raised: Any) -> None:
    error = raised[1]
    if not isinstance(error, FileNotFoundError):
        raise error
