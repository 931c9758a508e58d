"""`deltaproof watch`: anybody's eye on a task."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deltaproof.agent.patience import IDLE_POLL_SECONDS
from deltaproof.cli.amounts import AMOUNT
from deltaproof.cli.common import (
    ConfirmationsOption,
    ContractOption,
    GasPriceOption,
    HealthOption,
    JsonOption,
    PollOption,
    ReadingKeyOption,
    RpcOption,
    StoreOption,
    WitnessOption,
)
from deltaproof.cli.passwords import unlocked
from deltaproof.cli.reporting import reporter

__all__ = ["watch"]


def watch(
    rpc: RpcOption,
    contract: ContractOption,
    store: StoreOption,
    task: Annotated[
        int | None,
        typer.Option("--task", envvar="DELTAPROOF_TASK", help="Number of the task; every open task if left out."),
    ] = None,
    key: Annotated[
        str,
        typer.Option(
            "--key",
            envvar="DELTAPROOF_KEY",
            help="Private key to prove with; without one, only tell.",
            callback=unlocked,
        ),
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would be proved, and send nothing.")] = False,
    once: Annotated[bool, typer.Option("--once", help="Look once and leave.")] = False,
    home: Annotated[
        Path | None,
        typer.Option("--home", envvar="DELTAPROOF_HOME", help="Folder for log and status, if they are wanted."),
    ] = None,
    witness: WitnessOption = "",
    confirmations: ConfirmationsOption = "",
    poll: PollOption = IDLE_POLL_SECONDS,
    max_gas_price: GasPriceOption = None,
    health_port: HealthOption = None,
    reading_key: ReadingKeyOption = None,
    spend: Annotated[
        str | None,
        typer.Option(
            envvar="DELTAPROOF_SPEND",
            help="Most bonds to risk for the leaves of one settlement that nobody published. Default: none.",
            metavar=AMOUNT,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Recheck a task as it goes on; tell every fault, and with a key prove it and earn.

    Looks at each settlement (leaves, total, payouts), at what its signers signed elsewhere, and at the openings that
    trainers publish. A proof needs no stake and no bond, only gas; the prover gets its part of the slash, to be taken
    with `deltaproof claim`. What is sealed for others it tells once a round; `--reading-key` opens it. Deposit stake as
    a challenger (`deltaproof stake deposit`) and say `--spend` if it may also risk bonds to demand leaves that nobody
    shows: whoever answers keeps a half of each.
    """
    from deltaproof.api.watching import WatchSettings, watch_tasks
    from deltaproof.chain import load_signer
    from deltaproof.chain.contracts.money import Amount

    if dry_run and key:
        load_signer(key)  # who has a wrong key is to hear it now

    settings = WatchSettings(
        rpc, contract, store, task, "" if dry_run else key, once, home, witness, confirmations, poll,
        max_gas_price, health_port, reading_key, Amount.read(spend, "--spend") if spend is not None else None,
    )  # fmt: skip
    watch_tasks(settings, reporter(as_json))
