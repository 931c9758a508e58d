"""Demands, and what verifiers (`IDisputeCourt`) and trainers (`IFaultProver`) did wrong."""

from __future__ import annotations

from collections.abc import Sequence

from deltaproof.chain.abi.dispute_structs import (
    ChunkOpening,
    CourtParams,
    Demand,
    RecordOpening,
    StepEvidence,
    VectorChunk,
    Work,
)
from deltaproof.chain.abi.enums import Component
from deltaproof.chain.abi.structs import G1Point, ScorePair
from deltaproof.chain.contracts.client import ContractClient
from deltaproof.chain.events.disputes import DemandOpened
from deltaproof.chain.rpc.sender import Receipt
from deltaproof.protocol.commit.bls import Signature
from deltaproof.protocol.outcome.settlement import Settlement, SettlementLeaf
from deltaproof.protocol.types import Address, Digest32, RoundIndex, TaskId

__all__ = ["DisputeCourt", "FaultProver"]


class DisputeCourt(ContractClient):
    """`IDisputeCourt`. Bonds come from the caller's challenger stake."""

    INTERFACE = "IDisputeCourt"

    def params(self) -> CourtParams:
        """Bonds, shares and times."""
        return self._read(CourtParams, "params")

    def demand_count(self) -> int:
        """Number of demands; ids run from 1."""
        return self._read(int, "demandCount")

    def demand(self, demand_id: int) -> Demand:
        """A demand as it stands."""
        return self._read(Demand, "demandOf", demand_id)

    def open_demands_on(self, task_id: TaskId, trainer: Address) -> int:
        """Openings that a trainer has been asked for and has not shown."""
        return self._read(int, "openDemandsOn", task_id, trainer)

    def demand_opening(self, work: Work, step: int, component: Component, chunk: int) -> tuple[int, Receipt]:
        """Demand that a trainer shows one chunk of its committed work; returns the demand's id."""
        place = (step, component, chunk)
        receipt = self._write("demandOpening", work.task_id, work.round, work.trainer, work.data, work.ref, *place)
        return self._emitted(receipt, DemandOpened).demand_id, receipt

    def answer_opening(self, demand_id: int, opening: ChunkOpening) -> Receipt:
        """Show the chunk."""
        return self._write("answerOpening", demand_id, opening)

    def demand_score(
        self, task_id: TaskId, settlement: Digest32, verifier: Address, trainer: Address
    ) -> tuple[int, Receipt]:
        """Demand that a verifier shows its attested score of a trainer; returns the demand's id.

        `settlement` is the digest of the one in question (`TaskContract.posted_digest`): if another one is posted by
        then, nothing is asked. Raises ContractRevert.
        """
        receipt = self._write("demandScore", task_id, settlement, verifier, trainer)
        return self._emitted(receipt, DemandOpened).demand_id, receipt

    def answer_score(self, demand_id: int, pair: ScorePair) -> Receipt:
        """Show the score beside the settled one."""
        return self._write("answerScore", demand_id, pair)

    def demand_leaf(self, task_id: TaskId, settlement: Digest32, trainer: Address) -> tuple[int, Receipt]:
        """Demand that somebody shows a trainer's leaf of the posted settlement; returns the demand's id.

        In the first half of the window; `settlement` as for `demand_score`. Raises ContractRevert.
        """
        receipt = self._write("demandLeaf", task_id, settlement, trainer)
        return self._emitted(receipt, DemandOpened).demand_id, receipt

    def answer_leaf(self, demand_id: int, index: int, leaf: SettlementLeaf, proof: Sequence[Digest32]) -> Receipt:
        """Show the leaf."""
        return self._write("answerLeaf", demand_id, index, leaf, list(proof))

    def close_demand(self, demand_id: int) -> Receipt:
        """Close a demand that nobody answered in time."""
        return self._write("closeDemand", demand_id)

    def prove_equivocation(
        self,
        task_id: TaskId,
        round_index: RoundIndex,
        attempt: int,
        verifier: Address,
        *,
        first: tuple[Settlement, Signature],
        second: tuple[Settlement, Signature],
    ) -> Receipt:
        """Slash a verifier who signed two settlements of one attempt with different verdicts."""
        signed = (first[0], G1Point.of(first[1].point), second[0], G1Point.of(second[1].point))
        return self._write("proveEquivocation", task_id, round_index, attempt, verifier, *signed)

    def slash_signer(self, settlement_digest: Digest32, verifier: Address, non_signers: Sequence[Address]) -> Receipt:
        """Slash a signer of a settlement that was voided as culpable."""
        return self._write("slashSigner", settlement_digest, verifier, list(non_signers))


class FaultProver(ContractClient):
    """`IFaultProver`: no bond, no vote, the caller gets the prover's share."""

    INTERFACE = "IFaultProver"

    def prove_non_finite(self, work: Work, record: RecordOpening, chunk: VectorChunk, element: int) -> Receipt:
        """A committed value is NaN or infinite."""
        return self._write("proveNonFinite", work, record, chunk, element)

    def prove_wrong_update(self, work: Work, evidence: StepEvidence) -> Receipt:
        """The optimiser's update of one element is not what float32 arithmetic gives."""
        return self._write("proveWrongUpdate", work, evidence)

    def prove_wrong_start(
        self, work: Work, record: RecordOpening, theta: Digest32, siblings: tuple[Digest32, Digest32]
    ) -> Receipt:
        """Record 0 does not start from the round's adapter."""
        return self._write("proveWrongStart", work, record, theta, siblings)

    def prove_warm_start(self, work: Work, record: RecordOpening, chunk: VectorChunk, element: int) -> Receipt:
        """A moment of record 0 is neither zero nor minus zero."""
        return self._write("proveWarmStart", work, record, chunk, element)

    def prove_wrong_delta(
        self, work: Work, record: RecordOpening, theta: Digest32, siblings: tuple[Digest32, Digest32]
    ) -> Receipt:
        """The revealed delta is not the adapter of the last record (codec `float32`)."""
        return self._write("proveWrongDelta", work, record, theta, siblings)

    def prove_malformed_record(self, work: Work, record: RecordOpening) -> Receipt:
        """A record breaks the rules that a record can break by itself."""
        return self._write("proveMalformedRecord", work, record)
