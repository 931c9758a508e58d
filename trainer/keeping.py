"""A trainer's own leaf of each settlement, kept in its home: no store can hide its pay from it.

The leaf is written as soon as the store shows it in the dispute window. If the store never did, the leaf can stand in
an answer to a demand, which the chain keeps. Either way it counts only if it is a leaf of the posted root.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from deltaproof.agent.loop import Moment
from deltaproof.chain import Gateway
from deltaproof.chain.abi.enums import Phase
from deltaproof.chain.claims import KeptClaim
from deltaproof.chain.contracts.vault import Claim
from deltaproof.chain.shown import shown_claims
from deltaproof.disputing.settlements import posted_leaves
from deltaproof.errors import EncodingError
from deltaproof.folders import write_whole
from deltaproof.protocol.outcome.settlement import Settlement, SettlementLeaf, leaves_tree
from deltaproof.protocol.rules import MAX_LEAF_PROOF, MAX_LEAVES
from deltaproof.protocol.types import Address, DigestField, RoundIndex, TaskId
from deltaproof.protocol.wire.documents import Document
from deltaproof.protocol.wire.leaftree import verify_proof
from deltaproof.reporting import Once, Reporter
from deltaproof.store import ArtifactStore
from deltaproof.store.backend import Nowhere

__all__ = ["KeptClaims", "claim_among", "kept_claims"]

MAX_CLAIM_BYTES = 2**14
AGAIN_SECONDS = 3600
"""Between two searches of the chain for a leaf that no store shows, by the chain's clock."""


class _KeptClaim(Document, kind="claim", max_bytes=MAX_CLAIM_BYTES):
    """The part of a claim that its round does not say."""

    index: Annotated[int, Field(ge=0, lt=MAX_LEAVES)]
    leaf: SettlementLeaf
    proof: Annotated[tuple[DigestField, ...], Field(max_length=MAX_LEAF_PROOF)]


class KeptClaims:
    """The claims of one trainer in one task, in the task's folder; the pruner removes them."""

    def __init__(self, folder: Path, gateway: Gateway, store: ArtifactStore, task_id: TaskId, report: Reporter) -> None:
        self._folder, self._gateway, self._store, self._task_id = folder, gateway, store, task_id
        self._once = Once(report)
        self._seen: set[tuple[RoundIndex, int]] = set()
        """Posted settlements whose leaf of this trainer is kept, or that have none, by round and attempt."""
        self._search_at: dict[RoundIndex, int] = {}

    def mind(self, moment: Moment) -> None:
        """Keep the own leaf of a posted settlement. Raises StoreUnavailable."""
        round_ = moment.view.round
        if moment.view.phase is not Phase.WINDOW:
            return
        view = self._gateway.tasks.round(self._task_id, round_)
        if (round_, view.attempts) in self._seen:
            return
        if self.of(round_, view.settlement) is None:
            leaves = posted_leaves(self._gateway, self._store, self._task_id, round_, view)
            if leaves is None:
                return
            if (claim := claim_among(self._task_id, round_, leaves, self._gateway.account)) is not None:
                self._keep(claim, view.settlement)
        self._seen.add((round_, view.attempts))

    def of(self, round_: RoundIndex, settlement: Settlement) -> Claim | None:
        """The claim that is kept of a posted settlement."""
        path = self._path(round_, settlement)
        try:
            kept = _KeptClaim.from_document(path.read_bytes())
        except FileNotFoundError:
            return None
        except EncodingError as error:
            self._once("unusable", f"round {round_}: {path} is no use: {error}")
            return None
        claim = Claim(self._task_id, round_, kept.index, settlement.leaf_count, kept.leaf, kept.proof)
        return claim if self._is_mine(claim, settlement) else None

    def answered(self, round_: RoundIndex, settlement: Settlement) -> Claim | None:
        """The claim that an answer on chain shows; kept from then on. None also between searches.

        Who answers through a contract of its own hides the proof, not the leaf. Raises ChainError.
        """
        block = self._gateway.connection.read_block
        if block.timestamp < self._search_at.get(round_, 0):
            return None
        view = self._gateway.tasks.round(self._task_id, round_)
        me = self._gateway.account
        shown = shown_claims(self._gateway, self._task_id, round_, view, [me], self._folder).get(me)
        if shown is not None:
            self._keep(shown, settlement)
            return shown
        self._search_at[round_] = block.timestamp + AGAIN_SECONDS
        return None

    def _is_mine(self, claim: Claim, settlement: Settlement) -> bool:
        place = (claim.index, settlement.leaf_count, claim.proof)
        shown = verify_proof(settlement.leaves_root, leaves_tree([claim.leaf]).root, *place)
        return shown and claim.leaf.trainer == self._gateway.account

    def _keep(self, claim: Claim, settlement: Settlement) -> None:
        kept = _KeptClaim(index=claim.index, leaf=claim.leaf, proof=claim.proof)
        write_whole(self._path(claim.round, settlement), kept.to_document())

    def _path(self, round_: RoundIndex, settlement: Settlement) -> Path:
        return self._folder / f"claim-{round_}-{settlement.leaves_root.hex()[:16]}"


def kept_claims(home: Path, gateway: Gateway, report: Reporter) -> KeptClaim:
    """What a trainer's home keeps of all tasks."""

    def of(task_id: TaskId, round_: RoundIndex, settlement: Settlement) -> Claim | None:
        return KeptClaims(home / f"task-{task_id}", gateway, ArtifactStore(Nowhere()), task_id, report).of(
            round_, settlement
        )

    return of


def claim_among(
    task_id: TaskId, round_: RoundIndex, leaves: Sequence[SettlementLeaf], trainer: Address
) -> Claim | None:
    """A trainer's claim by all leaves of a settlement; None if none of them is the trainer's."""
    index = next((i for i, leaf in enumerate(leaves) if leaf.trainer == trainer), None)
    if index is None:
        return None
    return Claim(task_id, round_, index, len(leaves), leaves[index], leaves_tree(leaves).proof(index))
