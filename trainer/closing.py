"""What an ended round brought a trainer: claimed, refused, or worth nothing."""

from __future__ import annotations

from deltaproof.chain import Gateway
from deltaproof.chain.abi.enums import Outcome
from deltaproof.chain.claims import claim_base, claim_reward
from deltaproof.chain.contracts.money import Money
from deltaproof.chain.participation import settled_leaves
from deltaproof.errors import ChainError
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.types import RoundIndex, TaskId
from deltaproof.reporting import Reporter
from deltaproof.store import ArtifactStore

__all__ = ["settle_accounts"]


def settle_accounts(
    gateway: Gateway, store: ArtifactStore, task_id: TaskId, round_: RoundIndex, money: Money, report: Reporter
) -> bool:
    """Claim one ended round; True when nothing more can come of it.

    Raises ChainError while nobody has published the leaves of a settlement whose money can still be claimed.
    """
    view = gateway.tasks.round(task_id, round_)
    if not view.ended_at:
        return False
    if view.outcome != Outcome.SETTLED:
        report("ended", f"round {round_}: ended without a settlement ({view.outcome.name.lower()})")
        if base := claim_base(gateway, task_id, round_, gateway.account):
            report("paid", f"round {round_}: paid the base of {money.text(base)}", round=round_, payout=str(base))
        return True
    proposal = settled_leaves(store, task_id, round_, view.settlement, gateway.verifiers.enrolments(task_id))
    if proposal is None:
        if gateway.vault.pot(task_id, round_).expires_at < gateway.connection.read_block.timestamp:
            report("expired", f"round {round_}: the time to claim is over and nobody published the leaves")
            return True
        raise ChainError(f"round {round_} is settled, but no verifier has published the leaves of its settlement")
    leaf = next((leaf for leaf in proposal.leaves if leaf.trainer == gateway.account), None)
    if leaf is None:
        return True
    verdict, closure = leaf.verdict.name.lower(), gateway.vault.closure(task_id, round_, gateway.account)
    if closure.blocked:
        report("blocked", f"round {round_}: not paid, a fault of this work was shown on chain", round=round_)
    elif closure.holds:
        report("held", f"round {round_}: the pay waits for {closure.holds} demanded openings", round=round_)
        return False
    elif leaf.verdict != Verdict.ACCEPTED:
        report("refused", f"round {round_}: {verdict}", round=round_, verdict=verdict)
    elif not leaf.payout:
        report("unpaid", f"round {round_}: accepted, worth nothing", round=round_)
    else:
        now = claim_reward(gateway, task_id, round_, proposal.leaves, gateway.account)
        message = f"round {round_}: paid {money.text(leaf.payout)}{'' if now else ', claimed before'}"
        report("paid", message, round=round_, payout=str(leaf.payout))
    return True
