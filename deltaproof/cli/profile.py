"""`deltaproof profile set`, `show`: what a participant says of itself."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from deltaproof.api.connecting import open_gateway, parse_address, read_only_gateway, store_to_read, task_store
from deltaproof.cli.common import (
    ContractOption,
    JsonOption,
    KeyOption,
    RpcOption,
    StoreOption,
    TaskOption,
    show_result,
)
from deltaproof.errors import UsageError

if TYPE_CHECKING:
    from deltaproof.store.profiles import Profile

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Say who you are, if you like; see what others say.")


@app.command("set")
def set_profile(
    rpc: RpcOption,
    contract: ContractOption,
    store: StoreOption,
    key: KeyOption,
    task: TaskOption,
    name: Annotated[str, typer.Option(help="What to be called, at most 64 characters.")] = "",
    url: Annotated[str, typer.Option(help="A page, https.")] = "",
    contact: Annotated[str, typer.Option(help="How to be reached, at most 200 characters.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Sign a name, a page and a contact, and put them into the task's store. Without any, what was said is taken back.

    It costs nothing and sends no transaction. Everybody can read it, and a store may keep it: say what may be known
    for ever. A gateway takes it from whoever has a role in `--task`.
    """
    from pydantic import ValidationError

    from deltaproof.store.profiles import Profile

    with open_gateway(rpc, contract, key) as gateway:
        assert gateway.sender is not None
        try:
            said = Profile(account=gateway.account, name=name, url=url, contact=contact, issued=int(time.time()))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            plain = "write https://, a host, and a path if you like"
            what = plain if "pattern" in first["type"] else first["msg"].removeprefix("Value error, ")
            raise UsageError(f"--{first['loc'][0]}: {what}") from error
        signed = said.signed(gateway.sender.sign_message, gateway.permit_domain)
        task_store(store, gateway, task).put_profile(signed)
    show_result(_record(signed), as_json=as_json, text="\n".join(_lines(signed)))


@app.command("show")
def show_profile(
    accounts: Annotated[list[str], typer.Argument(help="Whose.", metavar="ADDRESS...")],
    rpc: RpcOption,
    contract: ContractOption,
    store: StoreOption,
    task: Annotated[int, typer.Option("--task", help="Without --store: the task whose store is asked.", min=0)] = 0,
    as_json: JsonOption = False,
) -> None:
    """What accounts say of themselves, as far as this store has it. Only that they said it is checked."""
    from deltaproof.errors import ArtifactMissing

    gateway = read_only_gateway(rpc, contract)
    artifacts = store_to_read(store, gateway, task)
    found: dict[str, Profile | None] = {}
    for written in accounts:
        account = parse_address(written, "ADDRESS")
        try:
            found[account] = artifacts.get_profile(gateway.permit_domain, account)
        except ArtifactMissing:
            found[account] = None
    lines = [line for who, each in found.items() for line in (_lines(each) if each else [f"{who}: says nothing"])]
    records = [_record(each) if each else {"account": who, "issued": None} for who, each in found.items()]
    show_result({"profiles": records}, as_json=as_json, text="\n".join(lines))


def _lines(profile: Profile) -> list[str]:
    day = time.strftime("%Y-%m-%d", time.gmtime(profile.issued))
    said = [f"  {name}: {value}" for name in ("name", "url", "contact") if (value := getattr(profile, name))]
    return [f"{profile.account}, said on {day}:", *(said or ["  nothing"])]


def _record(profile: Profile) -> dict[str, object]:
    return {key: getattr(profile, key) for key in ("account", "name", "url", "contact", "issued")}
