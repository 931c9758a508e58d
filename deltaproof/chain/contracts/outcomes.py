"""What is wrong with a settlement: proofs (`ISettlementProver`), and votes on the rest (`IJury`)."""

from __future__ import annotations

from collections.abc import Sequence

from deltaproof.chain.abi.dispute_structs import Case, JuryParams, Level, SettlementCheck, Vote
from deltaproof.chain.contracts.client import ContractClient
from deltaproof.chain.events.disputes import CaseOpened, CheckOpened
from deltaproof.chain.rpc.sender import Receipt
from deltaproof.protocol.outcome.settlement import SettlementLeaf
from deltaproof.protocol.types import Address, Digest32, TaskId

__all__ = ["Jury", "SettlementProver"]


class SettlementProver(ContractClient):
    """`ISettlementProver`: no bond, no vote, the prover's share of the signers' slashes to the caller."""

    INTERFACE = "ISettlementProver"

    def check(self, check_id: int) -> SettlementCheck:
        """Where a check of all leaves stands."""
        return self._read(SettlementCheck, "checkOf", check_id)

    def prove_wrong_leaf(self, task_id: TaskId, index: int, leaf: SettlementLeaf, proof: Sequence[Digest32]) -> Receipt:
        """One leaf of the posted settlement breaks a rule by itself."""
        return self._write("proveWrongLeaf", task_id, index, leaf, list(proof))

    def prove_wrong_order(
        self,
        task_id: TaskId,
        index: int,
        *,
        leaf: tuple[SettlementLeaf, Sequence[Digest32]],
        following: tuple[SettlementLeaf, Sequence[Digest32]],
    ) -> Receipt:
        """Leaf `index + 1` does not follow leaf `index` in the order of addresses; each comes with its proof."""
        (first, proof), (second, second_proof) = leaf, following
        return self._write("proveWrongOrder", task_id, index, first, list(proof), second, list(second_proof))

    def open_check(self, task_id: TaskId) -> tuple[int, Receipt]:
        """Begin a check of all leaves; returns its id."""
        receipt = self._write("openCheck", task_id)
        return self._emitted(receipt, CheckOpened).check_id, receipt

    def feed_leaves(self, check_id: int, leaves: Sequence[SettlementLeaf]) -> Receipt:
        """First pass: the next leaves, in order."""
        return self._write("feedLeaves", check_id, list(leaves))

    def review_leaves(self, check_id: int, leaves: Sequence[SettlementLeaf], threshold: int, top_up: int) -> Receipt:
        """Second pass; `threshold` and `top_up` of `incentives.payouts.Payouts`, the same in every call."""
        return self._write("reviewLeaves", check_id, list(leaves), threshold, top_up)


class Jury(ContractClient):
    """`IJury`. Bonds come from the caller's challenger stake, votes from its verifier stake."""

    INTERFACE = "IJury"

    def params(self) -> JuryParams:
        """Bonds, seats, prices and times."""
        return self._read(JuryParams, "params")

    def case_count(self) -> int:
        """Number of cases; ids run from 1."""
        return self._read(int, "caseCount")

    def case(self, case_id: int) -> Case:
        """A case as it stands."""
        return self._read(Case, "caseOf", case_id)

    def level(self, case_id: int, level: int) -> Level:
        """One of its votes."""
        return self._read(Level, "levelOf", case_id, level)

    def vote(self, case_id: int, level: int, juror: Address) -> Vote:
        """A juror's vote at one level."""
        return self._read(Vote, "voteOf", case_id, level, juror)

    def seats(self, case_id: int, level: int, account: Address) -> int:
        """Votes that an account has at a level whose seats are drawn."""
        return self._read(int, "seatsOf", case_id, level, account)

    def open_case(self, task_id: TaskId, settlement: Digest32, evidence: Digest32) -> tuple[int, Receipt]:
        """Ask whether the posted settlement is right; returns the case's id.

        `settlement` is the digest of the one in question: if another one is posted by then, nothing is asked. Raises
        ContractRevert.
        """
        receipt = self._write("openCase", task_id, settlement, evidence)
        return self._emitted(receipt, CaseOpened).case_id, receipt

    def draw_seats(self, case_id: int) -> Receipt:
        """Draw the seats once the beacon has decided; does nothing before that."""
        return self._write("drawSeats", case_id)

    def seal_vote(self, case_id: int, commitment: Digest32, non_signers: Sequence[Address]) -> Receipt:
        """Seal a vote (`deltaproof.protocol.commit.commitments.vote_hash`); `non_signers` as posted."""
        return self._write("sealVote", case_id, commitment, list(non_signers))

    def show_vote(self, case_id: int, *, overturn: bool, salt: Digest32) -> Receipt:
        """Open a sealed vote."""
        return self._write("showVote", case_id, overturn, salt)

    def appeal(self, case_id: int, level: int, evidence: Digest32) -> Receipt:
        """Ask twice the stake about the outcome of `level`, the last one held."""
        return self._write("appeal", case_id, level, evidence)

    def advance_case(self, case_id: int) -> Receipt:
        """Move on from a phase that is over, or close the case."""
        return self._write("advanceCase", case_id)

    def settle_vote(self, case_id: int, level: int, juror: Address, non_signers: Sequence[Address]) -> Receipt:
        """Unlock, pay or fine a juror for one level of a closed case."""
        return self._write("settleVote", case_id, level, juror, list(non_signers))

    def burn_juror_pay(self, case_id: int) -> Receipt:
        """Burn what jurors have not collected a month after the case."""
        return self._write("burnJurorPay", case_id)
