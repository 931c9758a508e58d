"""`deltaproof keys`: an account's key, and reading keys, which open sealed openings and private adapters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deltaproof.api.connecting import open_gateway, task_store
from deltaproof.cli.common import (
    ContractOption,
    HomeOption,
    JsonOption,
    KeyOption,
    RpcOption,
    StoreOption,
    TaskOption,
    show_result,
)
from deltaproof.cli.passwords import password_for
from deltaproof.errors import CryptoError, EncodingError, UsageError
from deltaproof.reporting import counted

if TYPE_CHECKING:
    from deltaproof.chain import Gateway
    from deltaproof.cli.documents.participants import (
        AdaptersPublished,
        Invitation,
        KeyRotated,
        NewAccountKey,
        NewReadingKey,
    )
    from deltaproof.protocol.terms.spec import TaskSpec
    from deltaproof.protocol.types import Digest32
    from deltaproof.store import ArtifactStore
    from deltaproof.store.weights import PrivateWeights

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True, help="An account's key; and reading keys: who opens sealed openings and private adapters."
)


@app.callback()
def keys() -> None:
    """An account's key, which sends transactions and owns what they earn; and reading keys, which open sealed openings
    and private adapters (`data.visibility`, `adapter.visibility`)."""


@app.command("account")
def account(
    file: Annotated[Path, typer.Argument(help="Where to keep the keystore. It must not be there yet.")],
    as_json: JsonOption = False,
) -> None:
    """Make an account for `--key FILE`: a new key in an encrypted keystore. Prints its address.

    The password is asked for, or taken from the environment variable DELTAPROOF_PASSWORD, from which every command
    takes it later. Nobody can open the file without it. Keep a copy of both apart: stake and pay belong to this key.
    """
    from deltaproof.chain.rpc.keys import create_keystore

    made = create_keystore(file, password_for("the new key", twice=True))
    told: NewAccountKey = {"file": str(file), "address": made.address}
    show_result(told, as_json=as_json, text=made.address)


@app.command("new")
def new(
    file: Annotated[Path, typer.Argument(help="Where to keep the secret key; nobody else must read it.")],
    as_json: JsonOption = False,
) -> None:
    """Make an auditor's reading key, and print its public key: what a sponsor names in `data.auditors`, and a trainer
    invites."""
    from deltaproof.protocol.commit.sealing import ReadingKey
    from deltaproof.protocol.types import hex_of

    public = hex_of(ReadingKey.create(file).public)
    told: NewReadingKey = {"file": str(file), "public": public}
    show_result(told, as_json=as_json, text=public)


@app.command("rotate")
def rotate(
    rpc: RpcOption,
    contract: ContractOption,
    store: StoreOption,
    key: KeyOption,
    home: HomeOption,
    task: TaskOption,
    as_json: JsonOption = False,
) -> None:
    """Publish a participant's next reading key, so that others seal for that one from now on.

    Old keys still open what was sealed for them. `verifier run`, and in a private task `trainer run`, publish the first
    one themselves.
    """
    from deltaproof.chain.reading import publish_reading_key
    from deltaproof.protocol.commit.secrets import HomeSecret
    from deltaproof.protocol.types import hex_of

    with open_gateway(rpc, contract, key) as gateway:
        record = publish_reading_key(gateway, task_store(store, gateway, task), HomeSecret.of(home), rotate=True)
    result: KeyRotated = {"account": record.account, "epoch": record.epoch, "public": hex_of(record.key)}
    show_result(result, as_json=as_json, text=f"reading key {record.epoch}: {hex_of(record.key)}")


@app.command("invite")
def invite(
    reader: Annotated[str, typer.Argument(help="The public reading key of whom to let read.", metavar="PUBLIC")],
    rpc: RpcOption,
    contract: ContractOption,
    store: StoreOption,
    key: KeyOption,
    home: HomeOption,
    task: TaskOption,
    round_: Annotated[
        int | None, typer.Option("--round", help="Only this round; by default every round so far.", min=1)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Let somebody read the rows that this trainer opened: an auditor, or whoever else is to check them.

    In a private task also deltas and adapters, of all rounds; there a sponsor or verifier may invite, too. Needs
    the `--home` of the participant. It cannot be taken back. A gateway takes rows until the round after, adapters until
    the task is closed.
    """
    from deltaproof.chain.participation import read_task
    from deltaproof.chain.tasklog import TaskLog
    from deltaproof.protocol.commit.sealing import TranscriptSecret
    from deltaproof.protocol.commit.secrets import HomeSecret
    from deltaproof.protocol.types import RoundIndex, TaskId, hex_of

    public = _public(reader)
    with open_gateway(rpc, contract, key) as gateway:
        artifacts, secret = task_store(store, gateway, task), HomeSecret.of(home)
        spec = read_task(gateway, artifacts, TaskId(task)).spec
        adapters = _inside(gateway, artifacts, spec, task, home)
        if adapters is not None:
            adapters.admit(public, gateway.account)
        last = gateway.tasks.phase(TaskId(task)).round
        if round_ is not None and round_ > last:
            raise UsageError(f"task {task} has had {counted(last, 'round')} so far")
        log, opened = TaskLog(gateway, [gateway.trainers.address], TaskId(task)), []
        for number in [round_] if round_ is not None else range(1, last + 1):
            log.refresh(RoundIndex(number))
            reveal = log.reveals(RoundIndex(number)).get(gateway.account)
            if reveal is not None:
                root = reveal.transcript_root
                artifacts.put_envelope(root, gateway.account, public, TranscriptSecret.of_home(secret, root))
                opened.append(number)
    text = f"rounds that {hex_of(public)} can read now: {', '.join(map(str, opened)) or 'none'}"
    text += "\nand every delta and adapter of the task" if adapters is not None else ""
    result: Invitation = {"reader": hex_of(public), "rounds": opened, "adapters": adapters is not None}
    show_result(result, as_json=as_json, text=text)


@app.command("publish")
def publish(
    rpc: RpcOption,
    contract: ContractOption,
    store: StoreOption,
    key: KeyOption,
    home: HomeOption,
    task: TaskOption,
    as_json: JsonOption = False,
) -> None:
    """Let everybody read the deltas and adapters of a private task, of all rounds. It cannot be taken back.

    The sponsor, who pays, decides that; rows stay sealed. Needs the `--home` that created the task.
    """
    from deltaproof.chain.participation import read_task
    from deltaproof.protocol.commit.sealing import ReadingKey
    from deltaproof.protocol.types import TaskId

    with open_gateway(rpc, contract, key) as gateway:
        if gateway.terms.sponsor(TaskId(task)) != gateway.account:
            raise UsageError(f"only the sponsor of task {task} publishes its adapters")
        artifacts = task_store(store, gateway, task)
        spec = read_task(gateway, artifacts, TaskId(task)).spec
        adapters = _inside(gateway, artifacts, spec, task, home)
        if adapters is None:
            raise UsageError(f"task {task} has public adapters")
        adapters.admit(ReadingKey.everybodys().public, gateway.account)
    text = f"task {task}: everybody can read its deltas and adapters now"
    told: AdaptersPublished = {"task": task, "published": True}
    show_result(told, as_json=as_json, text=text)


def _inside(gateway: Gateway, artifacts: ArtifactStore, spec: TaskSpec, task: int, home: Path) -> PrivateWeights | None:
    """The adapters of a private task, for its sponsor or who was admitted; None if they are public.

    Raises ArtifactSealed, UsageError.
    """
    from deltaproof.chain.admissions import givers_of
    from deltaproof.protocol.types import TaskId
    from deltaproof.sponsor.keeping import entered
    from deltaproof.store.readers import Keyring

    if gateway.terms.sponsor(TaskId(task)) == gateway.account:
        return entered(artifacts, spec, home).private
    private = artifacts.reading_with(Keyring.load(home)).of_task(spec).private
    if private is not None:
        private.enter(givers_of(gateway, TaskId(task)))
    return private


def _public(written: str) -> Digest32:
    from deltaproof.protocol.commit.sealing import public_reading_key
    from deltaproof.protocol.types import digest32

    try:
        return public_reading_key(digest32(written))
    except (EncodingError, CryptoError) as error:
        raise UsageError(f"{written!r} is no public reading key: {error}") from error
