"""Options that several commands share, and how a command reports and fails."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from deltaproof.cli.passwords import unlocked
from deltaproof.cli.terminal import Terminal
from deltaproof.errors import Problem
from deltaproof.reporting import printable_lines

__all__ = [
    "AnyTaskOption",
    "BackendOption",
    "CheckpointingOption",
    "ConfirmationsOption",
    "ContractOption",
    "DeviceOption",
    "DrandOption",
    "GasPriceOption",
    "HealthOption",
    "HomeOption",
    "JsonOption",
    "KeyOption",
    "MachineOption",
    "MaxDiskOption",
    "MaxMemoryOption",
    "MaxStakeOption",
    "NeededStoreOption",
    "PolicyOption",
    "PollOption",
    "RayOption",
    "ReadingKeyOption",
    "RowsOption",
    "RpcOption",
    "StoreOption",
    "TaskOption",
    "TrackOption",
    "WitnessOption",
    "WorkersOption",
    "console",
    "problem_records",
    "shortened",
    "show_result",
    "told_on_stderr",
]

RpcOption = Annotated[
    str,
    typer.Option(
        "--rpc",
        envvar="DELTAPROOF_RPC",
        help="JSON-RPC URL of the chain; several, separated by commas, take over for each other.",
        metavar="URL",
    ),
]
NeededStoreOption = Annotated[
    str,
    typer.Option(
        "--store",
        envvar="DELTAPROOF_STORE",
        help="Artifact store: a folder, a gateway's URL, or any fsspec URL such as s3://bucket/prefix; several, "
        "separated by commas, mirror each other.",
        metavar="URL",
    ),
]
StoreOption = Annotated[
    str,
    typer.Option(
        "--store",
        envvar="DELTAPROOF_STORE",
        help="Artifact store: a folder, a gateway's URL, or any fsspec URL such as s3://bucket/prefix; several, "
        "separated by commas, mirror each other; `home:PATH` reads the settlements that a verifier's home keeps. "
        "Default: the gateways that the task's sponsor announced on chain.",
        metavar="URL",
        default_factory=str,
        show_default=False,
    ),
]
ContractOption = Annotated[
    str,
    typer.Option(
        "--contract",
        envvar="DELTAPROOF_CONTRACT",
        help="Address of the TaskManager contract; the others are read from it.",
        metavar="ADDRESS",
    ),
]
KeyOption = Annotated[
    str,
    typer.Option(
        "--key",
        envvar="DELTAPROOF_KEY",
        help="Private key: a file that holds it, an encrypted keystore, or 64 hexadecimal digits "
        "(prefer the file or the environment: arguments are visible to other users); or a remote signer, "
        "https://HOST:PORT#ADDRESS (web3signer). A keystore's password is asked for, or in DELTAPROOF_PASSWORD.",
        metavar="KEY",
        callback=unlocked,
    ),
]
ReadingKeyOption = Annotated[
    Path | None,
    typer.Option(
        "--reading-key",
        envvar="DELTAPROOF_READING_KEY",
        help="What opens what is sealed: a file that `deltaproof keys new` made, or a participant's home.",
        metavar="PATH",
    ),
]
HomeOption = Annotated[
    Path,
    typer.Option(
        "--home",
        envvar="DELTAPROOF_HOME",
        help="Folder for this participant's secrets and work; a stopped command continues from it.",
        metavar="FOLDER",
    ),
]
RowsOption = Annotated[
    Path,
    typer.Option("--data", envvar="DELTAPROOF_DATA", help="Your rows, JSON Lines.", exists=True, dir_okay=False),
]
TaskOption = Annotated[int, typer.Option("--task", envvar="DELTAPROOF_TASK", help="Number of the task.", min=0)]
AnyTaskOption = Annotated[
    int | None,
    typer.Option("--task", envvar="DELTAPROOF_TASK", help="Number of the one task to take part in.", min=0),
]
PolicyOption = Annotated[
    Path | None,
    typer.Option(
        "--policy",
        envvar="DELTAPROOF_POLICY",
        help="TOML file that says which tasks to take: pay, stakes, models, how many at once.",
        exists=True,
        dir_okay=False,
        metavar="FILE",
    ),
]
TrackOption = Annotated[
    str,
    typer.Option(
        "--track",
        envvar="DELTAPROOF_TRACK",
        help="Draw losses and pay as curves: `tensorboard`, in the home, or `wandb`.",
        metavar="TRACKER",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts instead of text for people.")]

WitnessOption = Annotated[
    str,
    typer.Option(
        "--witness",
        envvar="DELTAPROOF_WITNESS",
        help="RPC URL of another node, asked now and then whether it knows the same blocks.",
        metavar="URL",
    ),
]
ConfirmationsOption = Annotated[
    str,
    typer.Option(
        "--confirmations",
        envvar="DELTAPROOF_CONFIRMATIONS",
        help="Act on blocks with so many on top, or on `finalized` ones. Default: 2, on development chains 0.",
        metavar="N|finalized",
    ),
]
PollOption = Annotated[
    float,
    typer.Option("--poll", envvar="DELTAPROOF_POLL", help="Seconds between looks at a quiet chain.", min=0.01),
]
DrandOption = Annotated[
    str,
    typer.Option(
        "--drand",
        envvar="DELTAPROOF_DRAND",
        help="Where rounds of drand come from, where the contracts draw seeds from it: relays' URLs, or folders with "
        "ROUND.json, separated by commas. Default: the network's public relays.",
        metavar="SOURCES",
    ),
]
GasPriceOption = Annotated[
    float | None,
    typer.Option(
        "--max-gas-price", envvar="DELTAPROOF_MAX_GAS_PRICE", help="Most gwei per gas ever offered.", min=0.001
    ),
]
MaxStakeOption = Annotated[
    str | None,
    typer.Option(
        "--max-stake",
        envvar="DELTAPROOF_MAX_STAKE",
        help="Most stake that the key may have in all, over its tasks and roles. More is never deposited.",
        metavar="AMOUNT",
    ),
]
MaxDiskOption = Annotated[
    float | None,
    typer.Option(
        "--max-disk",
        envvar="DELTAPROOF_MAX_DISK",
        help="Most that may lie in the home, GiB; work that might need more waits.",
        min=0.001,
    ),
]
MaxMemoryOption = Annotated[
    float | None,
    typer.Option(
        "--max-memory",
        envvar="DELTAPROOF_MAX_MEMORY",
        help="Most memory of all processes of the role together, GiB; the kernel refuses more (Linux).",
        min=0.001,
    ),
]
HealthOption = Annotated[
    int | None,
    typer.Option(
        "--health-port",
        envvar="DELTAPROOF_HEALTH_PORT",
        help="Serve /health and Prometheus /metrics on this port of 127.0.0.1.",
        min=1,
        max=65_535,
    ),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device",
        envvar="DELTAPROOF_DEVICE",
        help="What models compute on: cpu, cuda, cuda:N, or auto for a GPU if there is one. Default: cpu.",
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers",
        envvar="DELTAPROOF_WORKERS",
        help="Replays and coalition values beside each other; each worker holds the model once more. Default: 1.",
        min=1,
        max=1024,
    ),
]
BackendOption = Annotated[
    str | None,
    typer.Option(
        "--backend",
        envvar="DELTAPROOF_BACKEND",
        help="Where workers are: processes here, or actors of a Ray cluster. Default with several: processes.",
        metavar="inline|processes|ray",
    ),
]
RayOption = Annotated[
    str | None,
    typer.Option(
        "--ray-address",
        envvar="DELTAPROOF_RAY_ADDRESS",
        help="Address of the Ray cluster. Default: the one that this machine belongs to.",
        metavar="ADDRESS",
    ),
]
CheckpointingOption = Annotated[
    bool,
    typer.Option(
        "--checkpointing",
        envvar="DELTAPROOF_CHECKPOINTING",
        help="Compute layers again in the backward pass instead of keeping what they computed: a fraction of the "
        "memory, more time, the same bits.",
    ),
]
MachineOption = Annotated[
    Path | None,
    typer.Option(
        "--machine",
        envvar="DELTAPROOF_MACHINE",
        help="TOML file with device, workers, backend, ray_address and checkpointing; options go before it.",
        exists=True,
        dir_okay=False,
    ),
]

console = Terminal(highlight=False)
"""Where commands print for people."""


def shortened(account: str) -> str:
    """An address for a narrow table, as the explorer writes it: `0x15d34A…2C6A65`."""
    return f"{account[:8]}…{account[-6:]}"


def show_result(result: Mapping[str, object], *, as_json: bool, text: str) -> None:
    """The outcome of a command: one JSON object, or text."""
    if as_json:
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()
    else:
        console.print(text, markup=False, soft_wrap=True)


def told_on_stderr(event: str, message: str, **fields: object) -> None:
    """A `Reporter` for commands whose standard output is their result."""
    typer.echo(printable_lines(message), err=True)


def problem_records(problems: Sequence[Problem]) -> list[dict[str, str]]:
    """Problems of a draft for a script."""
    return [{"key": problem.key, "problem": problem.what, "remedy": problem.remedy} for problem in problems]
