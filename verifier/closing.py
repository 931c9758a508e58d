"""What is left to do when rounds have ended: slash, charge the absent, take unrevealed bonds, claim fees."""

from __future__ import annotations

from collections.abc import Sequence

from deltaproof.chain import Gateway
from deltaproof.chain.abi.enums import AttestationState, Outcome
from deltaproof.chain.abi.structs import RoundView
from deltaproof.chain.claims import claim_fees
from deltaproof.chain.contracts.pools import ClaimableFees
from deltaproof.chain.contracts.vault import Claim
from deltaproof.chain.participation import attempt, quorum_members, settled_leaves
from deltaproof.errors import ContractRevert
from deltaproof.protocol.outcome.settlement import SettlementProposal, Verdict, leaves_tree
from deltaproof.protocol.types import Address, RoundIndex, TaskId
from deltaproof.reporting import Reporter
from deltaproof.store import ArtifactStore

__all__ = ["charge_absences", "close_round", "collect_fees"]

ATTESTED = (Outcome.SETTLED, Outcome.NO_QUORUM, Outcome.NO_ATTESTATIONS)
"""How rounds end in which verifiers had the time to attest."""


def close_round(
    gateway: Gateway,
    store: ArtifactStore,
    task_id: TaskId,
    round_: RoundIndex,
    view: RoundView,
    report: Reporter,
    *,
    kept: SettlementProposal | None = None,
) -> None:
    """Apply the penalties of an ended round, by the proposal that the caller kept, else by one in the store. What
    others were faster at is left alone."""
    if view.outcome in ATTESTED:
        charge_absences(gateway, task_id, round_, report)
    if view.outcome != Outcome.SETTLED:
        report("ended", f"round {round_}: ended without a settlement ({view.outcome.name.lower()})")
        return
    proposal = kept
    if proposal is None:
        proposal = settled_leaves(gateway, store, task_id, round_, view)
    if proposal is None:
        report("unusable", f"round {round_}: nobody published the leaves of the settlement")
        return
    _penalise(gateway, task_id, round_, proposal, report)


def collect_fees(
    gateway: Gateway, task_id: TaskId, rounds: Sequence[RoundIndex], report: Reporter
) -> dict[RoundIndex, ContractRevert]:
    """Claim the caller's fees of ended rounds, those of several together; returns what was refused."""
    tried = claim_fees(gateway, task_id, rounds, gateway.account)
    for round_, fees in tried.done:
        message = f"round {round_}: paid {_fees_text(gateway, task_id, fees)}"
        report("paid", message, round=round_, fee=str(fees.fee), slash_reward=str(fees.slash_reward))
    return {round_: revert for (round_, _), revert in tried.refused}


def charge_absences(gateway: Gateway, task_id: TaskId, round_: RoundIndex, report: Reporter) -> None:
    """Whoever belonged to the quorum and attested nothing pays for it and leaves the next rounds to the others.

    Attack: stay away, and open the next round in the transaction that ends this one. A miss that is charged later
    stands alone, costs no more than the first, and keeps the seat of the next round. So it is charged in the window.

    Attack: make a round too much for everybody, and have the honest charge each other. Who attested nothing itself
    charges nobody.
    """

    def attested(verifier: Address) -> bool:
        state = gateway.verifiers.attestation(task_id, round_, verifier).state
        return state not in (AttestationState.NONE, AttestationState.COMMITTED)

    if not attested(gateway.account):
        return
    for verifier in quorum_members(gateway, task_id, round_):
        if attested(verifier):
            continue
        if attempt(gateway.verifiers.charge_absence, task_id, round_, verifier) is not None:
            message = f"round {round_}: {verifier[:8]} attested nothing and was charged for it"
            report("absent", message, round=round_, verifier=verifier)


def _fees_text(gateway: Gateway, task_id: TaskId, paid: ClaimableFees) -> str:
    reward, stake = gateway.task(task_id).params.token, gateway.registry.token()
    parts = [gateway.money(reward).text(paid.fee)] if paid.fee else []
    if paid.slash_reward:
        parts.append(f"{gateway.money(stake).text(paid.slash_reward)} of a slash")
    return " and ".join(parts)


def _penalise(
    gateway: Gateway, task_id: TaskId, round_: RoundIndex, proposal: SettlementProposal, report: Reporter
) -> None:
    tree = leaves_tree(proposal.leaves)
    paid = [leaf.trainer for leaf in proposal.leaves if leaf.verdict is Verdict.ACCEPTED and leaf.payout]
    gateway.connection.prefetch([gateway.vault.view("closureOf", task_id, round_, trainer) for trainer in paid])
    for index, leaf in enumerate(proposal.leaves):
        short, verdict = leaf.trainer[:8], leaf.verdict.name.lower()
        match leaf.verdict:
            case Verdict.REJECTED | Verdict.WITHHELD if gateway.trainers.work(task_id, round_, leaf.trainer).revealed:
                if attempt(gateway.trainers.slash, task_id, round_, index, leaf, tree.proof(index)) is not None:
                    report(
                        "slashed", f"round {round_}: slashed {short} ({verdict})", round=round_, trainer=leaf.trainer
                    )
            case Verdict.ACCEPTED if leaf.payout:
                closure = gateway.vault.closure(task_id, round_, leaf.trainer)
                if closure.blocked and not closure.returned:
                    claim = Claim(task_id, round_, index, len(proposal.leaves), leaf, tree.proof(index))
                    if attempt(gateway.vault.return_blocked, claim) is not None:
                        report("returned", f"round {round_}: the blocked pay of {short} went back to the task")
            case Verdict.UNREVEALED | Verdict.REJECTED | Verdict.WITHHELD:
                if _forfeit(gateway, task_id, round_, leaf.trainer):
                    message = f"round {round_}: {short} lost the commit bond"
                    report("forfeited", message, round=round_, trainer=leaf.trainer)


def _forfeit(gateway: Gateway, task_id: TaskId, round_: RoundIndex, trainer: Address) -> bool:
    """Take the bond of a commitment that was not revealed; False if somebody has, the trainer gave it up itself, or it
    has left with its stake."""
    try:
        return attempt(gateway.trainers.forfeit_bond, task_id, round_, trainer) is not None
    except ContractRevert as revert:
        # It has committed again since, which it can only after the bond was settled; or its stake was released.
        if revert.name in ("NotCommitted", "NotEnrolled"):
            return False
        raise
