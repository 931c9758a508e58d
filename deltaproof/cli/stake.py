"""`deltaproof stake` and `deltaproof bond`: money at risk, and how to get it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from deltaproof.api.connecting import open_gateway, parse_address, read_only_gateway
from deltaproof.chain.abi.enums import Role
from deltaproof.cli.amounts import AMOUNT, YesOption, agreed
from deltaproof.cli.common import ContractOption, JsonOption, KeyOption, RpcOption, TaskOption, show_result
from deltaproof.errors import UsageError

if TYPE_CHECKING:
    from deltaproof.chain.stakes import StakeStep
    from deltaproof.cli.documents.participants import ClearedBond, Deposit, StakeSteps

__all__ = ["app", "bond_app"]

app = typer.Typer(no_args_is_help=True, help="Your stake: look at it, add to it, leave a task, take it out.")
bond_app = typer.Typer(no_args_is_help=True, help="Commit bonds.")

RoleOption = Annotated[str, typer.Option("--role", help="`trainer`, `verifier` or `challenger`.", metavar="ROLE")]


@bond_app.callback()
def bond() -> None:
    """Commit bonds."""


@app.command("show")
def show(
    rpc: RpcOption,
    contract: ContractOption,
    account: Annotated[str, typer.Argument(help="Whose stake.")],
    as_json: JsonOption = False,
) -> None:
    """What an account has staked, by role: free, locked in tasks, on its way out."""
    from deltaproof.chain.stakes import stakes_of

    gateway = read_only_gateway(rpc, contract)
    whom = parse_address(account, "ACCOUNT")
    money = gateway.money(gateway.registry.token())
    found = stakes_of(gateway, whom)
    lines = [
        f"{role.name.lower():<11} {money.text(s.total)}: {money.text(s.free)} free, {money.text(s.locked)} locked, "
        f"{money.text(s.unbonding)} on its way out"
        for role, s in found.items()
    ]
    result = {
        role.name.lower(): {
            "total": str(s.total), "free": str(s.free), "locked": str(s.locked), "unbonding": str(s.unbonding),
            "withdrawable_at": s.withdrawable_at,
        }
        for role, s in found.items()
    }  # fmt: skip
    show_result({"account": whom, **result}, as_json=as_json, text="\n".join(lines))


@app.command("deposit")
def deposit(
    amount: Annotated[str, typer.Argument(help="Stake tokens to add, such as 100 or '1.5 DEMO'.", metavar=AMOUNT)],
    role: RoleOption,
    rpc: RpcOption,
    contract: ContractOption,
    key: KeyOption,
    account: Annotated[
        str | None, typer.Option("--for", help="Whose stake it becomes, for good; by default the key's own.")
    ] = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Add stake. Agents do it by themselves when they join; a challenger's bonds come from here.

    With `--for` a treasury pays for the key of an agent, which then needs currency for gas alone.
    """
    from deltaproof.chain.contracts.money import Amount
    from deltaproof.chain.participation import lock_stake
    from deltaproof.chain.stakes import stake_for
    from deltaproof.protocol.types import TokenAmount

    asked, which = Amount.read(amount, "AMOUNT"), _role(role)
    with open_gateway(rpc, contract, key) as gateway:
        money = gateway.money(gateway.registry.token())
        units = asked.positive(money)
        whom = parse_address(account, "--for") if account else gateway.account
        others = f" for {whom}" if account else ""
        agreed(f"stake {money.exact(units)} of {gateway.account} as {role}{others}", yes=yes, as_json=as_json)
        if account:
            stake_for(gateway, whom, which, units)
        else:
            lock_stake(gateway, which, TokenAmount(gateway.registry.stake_of(whom, which).free + units))
    text = f"deposited {money.text(units)} as {role}{others}"
    told: Deposit = {"deposited": str(units), "role": role, "account": whom}
    show_result(told, as_json=as_json, text=text)


@app.command("leave")
def leave(
    task: TaskOption,
    role: RoleOption,
    rpc: RpcOption,
    contract: ContractOption,
    key: KeyOption,
    as_json: JsonOption = False,
) -> None:
    """Leave a task: resign now, and unlock the stake once it cannot be slashed any more (run it again then)."""
    from deltaproof.chain.stakes import leave_task
    from deltaproof.protocol.types import TaskId

    with open_gateway(rpc, contract, key) as gateway:
        _tell(leave_task(gateway, TaskId(task), _role(role)), as_json)


@app.command("withdraw")
def withdraw(
    role: RoleOption, rpc: RpcOption, contract: ContractOption, key: KeyOption, as_json: JsonOption = False
) -> None:
    """Take out free stake: the first call starts the wait, one after it pays out."""
    from deltaproof.chain.stakes import take_out

    with open_gateway(rpc, contract, key) as gateway:
        _tell(take_out(gateway, _role(role)), as_json)


@bond_app.command("clear")
def clear(
    task: TaskOption,
    rpc: RpcOption,
    contract: ContractOption,
    key: KeyOption,
    trainer: Annotated[str | None, typer.Option(help="Whose bond; by default the key's own.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Settle the bond of a commitment that was never revealed, so that the trainer can commit again.

    The bond is lost either way, out of the stake: one that is less than the task asks for after it is filled up by
    `trainer run --top-up`. A running trainer does this by itself before its next commitment. Anybody may send it.
    """
    from deltaproof.chain.stakes import clear_bond
    from deltaproof.protocol.types import TaskId

    with open_gateway(rpc, contract, key) as gateway:
        whom = parse_address(trainer, "--trainer") if trainer else gateway.account
        cleared = clear_bond(gateway, TaskId(task), whom)
        money = gateway.money(gateway.registry.token())
    text, told = "no bond is outstanding", ClearedBond(trainer=whom, round=None, lost="0")
    if cleared is not None:
        text = f"the bond of round {cleared.round} is settled: {money.text(cleared.lost)} of the stake are lost"
        if cleared.stake < cleared.least:
            text += (
                f"; {money.text(cleared.stake)} are left of the {money.text(cleared.least)} that the task asks for: "
                "`trainer run --top-up` fills them up"
            )
        told = ClearedBond(trainer=whom, round=cleared.round, lost=str(cleared.lost))
    show_result(told, as_json=as_json, text=text)


def _role(name: str) -> Role:
    try:
        return Role[name.upper()]
    except KeyError as error:
        raise UsageError(f"--role is trainer, verifier or challenger, not {name!r}") from error


def _tell(steps: list[StakeStep], as_json: bool) -> None:
    result: StakeSteps = {
        "steps": [{"done": step.done, "message": step.message, "until": step.until} for step in steps]
    }
    show_result(result, as_json=as_json, text="\n".join(step.message for step in steps))
