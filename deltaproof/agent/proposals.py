"""Settlements that a verifier signed, or anybody saw posted, kept in its home: no store can take settled leaves back.

Attack: run the store, take the proposals, and hide them when the round is settled. Then nobody can claim, no verifier
can answer for a score or a leaf, and the money of the round goes back to the sponsor.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from deltaproof.agent.loop import Moment
from deltaproof.chain import Gateway
from deltaproof.chain.abi.enums import Phase
from deltaproof.chain.abi.structs import RoundView
from deltaproof.chain.participation import settled_leaves
from deltaproof.errors import ArtifactError, EncodingError
from deltaproof.folders import write_whole
from deltaproof.protocol.outcome.settlement import Settlement, SettlementProposal
from deltaproof.protocol.types import Digest32, RoundIndex, TaskId
from deltaproof.reporting import Once, Reporter
from deltaproof.store import ArtifactStore

__all__ = ["KeptProposals"]

LOOK_SECONDS = 3600
"""Between looks at the store, by the chain's clock; it is looked at also when a window begins and when it is over."""
KEPT = re.compile(r"proposal-(\d{1,10})-[0-9a-f]{16}")


class KeptProposals:
    """What one home knows of the settlements of one task, in the task's folder; the pruner removes it."""

    def __init__(
        self,
        folder: Path,
        gateway: Gateway,
        store: ArtifactStore,
        task_id: TaskId,
        report: Reporter,
        require: Callable[[int, str], None] = lambda _size, _what: None,
        *,
        shows: bool = True,
    ) -> None:
        """`require` raises unless the home has room for so many bytes: see `DiskLimit.require`. `shows`: whether its
        owner may put them into the store again."""
        self._require, self._shows = require, shows
        self.gateway, self.store, self.task_id = gateway, store, task_id
        self._folder, self.report, self._once = folder, report, Once(report)
        self._looked: tuple[RoundIndex, bool] | None = None
        """The round, and whether its window was open."""
        self._look_at = 0
        self._seen: set[tuple[RoundIndex, int]] = set()
        """Posted settlements that are kept, by round and attempt."""

    def keep(self, round_: RoundIndex, digest: Digest32, proposal: SettlementProposal) -> None:
        """Write what is signed next, or was signed by others; `digest` is what is signed of it."""
        document = proposal.to_document()
        self._require(2 * len(document), f"the settlement of round {round_}")
        write_whole(self._folder / f"proposal-{round_}-{digest.hex()[:16]}", document)

    def of(self, round_: RoundIndex, settlement: Settlement) -> SettlementProposal | None:
        """The proposal of a settlement, if it is kept."""
        for path in sorted(self._folder.glob(f"proposal-{round_}-*")):
            if KEPT.fullmatch(path.name) is None:
                continue
            try:
                kept = SettlementProposal.from_document(path.read_bytes())
            except (EncodingError, FileNotFoundError) as error:  # damaged, or pruned meanwhile: the store may have it
                self._once("unusable", f"round {round_}: {path} is no use: {error}")
                continue
            if kept.settlement == settlement:
                return kept
        return None

    def mind(self, moment: Moment) -> None:
        """Keep what is posted as soon as it is seen; put it into the store again where it does not show it."""
        now, place = moment.block.timestamp, (moment.view.round, moment.view.phase is Phase.WINDOW)
        if moment.view.phase is Phase.WINDOW:
            self._keep_posted(moment.view.round)
        if not self._shows or (place == self._looked and now < self._look_at):
            return
        self._looked, self._look_at = place, now + LOOK_SECONDS
        names = (KEPT.fullmatch(path.name) for path in self._folder.glob("proposal-*"))
        for round_ in sorted({RoundIndex(int(name[1])) for name in names if name is not None}):
            self._show(round_)

    def _keep_posted(self, round_: RoundIndex) -> None:
        """Who came too late to sign may be asked for its score as well."""
        view = self.gateway.tasks.round(self.task_id, round_)
        place = (round_, view.attempts)
        if place in self._seen:
            return
        if self.of(round_, view.settlement) is None:
            posted = settled_leaves(self.gateway, self.store, self.task_id, round_, view)
            if posted is None:
                return
            self.keep(round_, self._digest(round_, view), posted)
        self._seen.add(place)

    def _show(self, round_: RoundIndex) -> None:
        view = self.gateway.tasks.round(self.task_id, round_)
        kept = self.of(round_, view.settlement)
        if kept is None:
            return
        try:
            if settled_leaves(self.gateway, self.store, self.task_id, round_, view) is None:
                self.store.put_proposal(self._digest(round_, view), kept)
                self.report("republished", f"round {round_}: the store had lost the settled leaves", round=round_)
        except ArtifactError as error:
            message = f"round {round_}: the store does not show the settled leaves, and takes them from nobody: {error}"
            self._once("unshown", message, round=round_)

    def _digest(self, round_: RoundIndex, view: RoundView) -> Digest32:
        return view.settlement.signing_digest(self.gateway.domain(self.task_id, round_), view.attempts)
