"""What a participant risks on demands for leaves that nobody published: no more than the round pays it.

Attack: settle rightly, publish no leaves, and answer each demand for a half of its bond. Whoever asks for all of them
pays for nothing; who asks for no more than it could lose without them has lost no more than its pay.
"""

from __future__ import annotations

from deltaproof.chain import Gateway
from deltaproof.chain.abi.enums import Role
from deltaproof.chain.abi.structs import TaskParams
from deltaproof.protocol.terms.costs import verifier_fee
from deltaproof.protocol.types import RoundIndex, TaskId, TokenAmount

__all__ = ["own_pay"]


def own_pay(gateway: Gateway, task_id: TaskId, params: TaskParams, role: Role, round_: RoundIndex) -> TokenAmount:
    """An equal part of what the running round pays trainers or verifiers, smallest units of the stake token.

    One bond where pay is in another token: what that is worth in stake nobody knows here.
    """
    if params.token != gateway.registry.token():
        return gateway.court.params().demand_bond
    if role is Role.TRAINER:
        whole, people = int(params.rewards.budget_per_round), gateway.trainers.progress(task_id).committed
    else:
        whole, people = int(verifier_fee(params.rewards)), gateway.verifiers.quorum(task_id, round_).members
    return TokenAmount(whole // max(people, 1))
