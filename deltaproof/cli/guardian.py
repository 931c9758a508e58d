"""`deltaproof guardian`: the one office of a deployment, which can stop what is new and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from deltaproof.api.connecting import open_gateway, parse_address
from deltaproof.cli.common import ContractOption, JsonOption, KeyOption, RpcOption, show_result

if TYPE_CHECKING:
    from deltaproof.cli.documents.participants import GuardianIs, Proposed, RoundsPaused, TasksPaused

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    help="""The guardian's office: refuse new tasks or, for seven days, new rounds; hand it over.

It reaches no running round, money, stake or verdict; see "Incidents" in the contracts' documentation.""",
)


@app.command("tasks")
def tasks(
    rpc: RpcOption,
    contract: ContractOption,
    key: KeyOption,
    paused: Annotated[bool, typer.Option("--pause/--allow", help="Refuse new tasks, or accept them again.")],
    as_json: JsonOption = False,
) -> None:
    """Refuse new tasks, or accept them again."""
    with open_gateway(rpc, contract, key) as gateway:
        gateway.terms.set_new_tasks_paused(paused)
    told: TasksPaused = {"new_tasks_paused": paused}
    show_result(told, as_json=as_json, text=f"new tasks {'refused' if paused else 'accepted'}")


@app.command("rounds")
def rounds(
    rpc: RpcOption,
    contract: ContractOption,
    key: KeyOption,
    paused: Annotated[bool, typer.Option("--pause/--resume", help="Refuse new rounds for seven days, or end that.")],
    as_json: JsonOption = False,
) -> None:
    """Refuse new rounds for seven days, or end that early. Running rounds go on."""
    with open_gateway(rpc, contract, key) as gateway:
        if paused:
            gateway.terms.pause_new_rounds()
        else:
            gateway.terms.resume_new_rounds()
    text = "no new round opens for seven days" if paused else "new rounds open again"
    told: RoundsPaused = {"new_rounds_paused": paused}
    show_result(told, as_json=as_json, text=text)


@app.command("propose")
def propose(
    successor: Annotated[str, typer.Argument(help="Who may take the office in two days; the zero address: nobody.")],
    rpc: RpcOption,
    contract: ContractOption,
    key: KeyOption,
    as_json: JsonOption = False,
) -> None:
    """Propose a successor, who can accept after two days."""
    with open_gateway(rpc, contract, key) as gateway:
        whom = parse_address(successor, "SUCCESSOR")
        gateway.terms.propose_guardian(whom)
    told: Proposed = {"proposed": whom}
    show_result(told, as_json=as_json, text=f"{whom} can accept the office in two days")


@app.command("accept")
def accept(rpc: RpcOption, contract: ContractOption, key: KeyOption, as_json: JsonOption = False) -> None:
    """Take the office that was offered."""
    with open_gateway(rpc, contract, key) as gateway:
        gateway.terms.accept_guardian()
        account = gateway.account
    told: GuardianIs = {"guardian": account}
    show_result(told, as_json=as_json, text=f"{account} is the guardian")
