"""Money into a task's escrow."""

from __future__ import annotations

from collections.abc import Callable

from deltaproof.chain.contracts.gateway import Gateway
from deltaproof.chain.contracts.money import Amount
from deltaproof.chain.participation import let_take, require_balance, require_going_on, require_task
from deltaproof.protocol.types import TaskId, TokenAmount

__all__ = ["fund_task"]


def fund_task(
    gateway: Gateway, task_id: TaskId, asked: Amount, agreed: Callable[[str], None] = lambda what: None
) -> TokenAmount:
    """Move an amount of the reward token into the escrow; what it holds then, smallest units.

    `agreed` hears what is about to happen, and stops it by raising. Raises TaskRefused for no such task or one that has
    ended, UsageError for nothing or another token, InsufficientFunds before anything is sent.
    """
    require_task(gateway, task_id)
    require_going_on(gateway, task_id)
    token = gateway.vault.account(task_id).token
    money = gateway.money(token)
    units = asked.positive(money)
    told = money.exact(units)
    require_balance(gateway, token, gateway.account, units, f"is to pay {told}")
    agreed(f"move {told} of {gateway.account} into the escrow of task {task_id}")
    let_take(gateway, token, gateway.vault.address, units)
    gateway.vault.fund(task_id, units)
    return gateway.vault.account(task_id).balance
