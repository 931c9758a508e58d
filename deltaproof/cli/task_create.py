"""`deltaproof task create`: from a draft to a funded task, with every doubt raised before money moves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deltaproof.chain import Gateway
from deltaproof.chain.contracts.money import Amount
from deltaproof.cli.amounts import AMOUNT, YesOption, agreed
from deltaproof.cli.common import (
    ContractOption,
    HomeOption,
    JsonOption,
    KeyOption,
    RpcOption,
    StoreOption,
    show_result,
)
from deltaproof.cli.connect import open_gateway, parse_address, read_only_gateway, task_store
from deltaproof.errors import (
    DeltaproofError,
    InsufficientFunds,
    Problem,
    SigningKeyError,
    SpecError,
    StoreUnavailable,
)
from deltaproof.protocol.types import Address, address, hex_of
from deltaproof.store import ArtifactStore, open_store

if TYPE_CHECKING:
    from deltaproof.sponsor.amounts import Tokens
    from deltaproof.sponsor.drafts import PreparedTask

__all__ = ["AcceptOption", "SpeedOption", "create"]

SpeedOption = Annotated[
    float,
    typer.Option(
        "--speed", help="How many times faster the participants' machines are than this one: for the phases.", min=0.001
    ),
]


AcceptOption = Annotated[
    bool,
    typer.Option("--accept-risk", help="Take terms under which somebody gains by cheating; the table says who."),
]


DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Check everything, ask the contract whether it would agree, send nothing.")
]


def create(
    spec: Annotated[Path, typer.Argument(help="Task spec, TOML.", exists=True, dir_okay=False)],
    rpc: RpcOption,
    contract: ContractOption,
    store: StoreOption,
    key: KeyOption,
    home: HomeOption,
    fund: Annotated[
        str, typer.Option(help="Reward tokens to move into the escrow, such as 330 or '1.5 DEMO'.", metavar=AMOUNT)
    ] = "0",
    token: Annotated[
        str | None, typer.Option(help="ERC-20 that rewards are paid in; by default the stake token.")
    ] = None,
    speed: SpeedOption = 1.0,
    accept_risk: AcceptOption = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Complete a spec, publish it, and fund the task.

    Prints what every kind of attack would win or lose in a round under these terms, and refuses terms under which one
    pays.

    All problems are told at once, before a model is loaded: those of the spec as `deltaproof task check` finds them,
    and those of the key, the chain and the funds. Before money moves, a person at a terminal is asked.

    Add a table `[sponsor]` with `validation` and `test`, JSON Lines files of hidden rows. They stay in `--home` until
    `deltaproof sponsor run` shows them, each after the commitments of its round. Digests that the spec leaves out are
    computed. With a table `[federation]`, emulators of a model that trainers must not hold are made first (minutes for
    large models): see docs/federation.md.
    """
    from deltaproof.chain.contracts.tasks import task_params
    from deltaproof.protocol.commit.secrets import HomeSecret
    from deltaproof.sponsor.amounts import money_lines
    from deltaproof.sponsor.checking import check_draft
    from deltaproof.sponsor.drafts import complete_draft
    from deltaproof.sponsor.keeping import check_store
    from deltaproof.sponsor.life import create_task
    from deltaproof.sponsor.quorum import quorum_meaning
    from deltaproof.sponsor.risks import economics_record, economics_table, risk_problems
    from deltaproof.tuning.training.optimizers import constants_root, constants_table
    from incentives.economics import economics

    asked = Amount.read(fund, "--fund")
    found = _Place.look(rpc, contract, key, token)
    draft = check_draft(spec, found.tokens)
    problems = [*draft.problems, *found.problems, *_funding_problems(found, draft.tables, asked)]
    if problems:
        raise SpecError.of(str(spec), problems)
    prepared = complete_draft(draft, HomeSecret.of(home), lambda line: typer.echo(line, err=True), speed=speed)
    risks, reward, tokens = economics(prepared.spec), found.reward, found.tokens
    terms = [*money_lines(prepared.spec, tokens)]
    typer.echo("\n".join([*terms, *economics_table(risks, tokens)]), err=True)
    if risks.risks and not accept_risk:
        raise SpecError.of(str(spec), risk_problems(risks, tokens))
    quorum = quorum_meaning(prepared.spec.verification.quorum_bps, prepared.spec.verification.min_verifiers)
    result = {
        "spec_hash": hex_of(prepared.spec.digest()),
        "start_digest": hex_of(prepared.spec.start_digest),
        "parameters": len(prepared.start),
        "funded": str(asked.within(tokens.reward)),
        "verifiers_away": quorum.away,
        "verifiers_lying": quorum.lying,
        "economics": economics_record(risks),
    }
    params = task_params(
        prepared.spec,
        token=reward,
        parameters=len(prepared.start),
        constants_root=constants_root(constants_table(prepared.spec.optimizer, prepared.spec.training.steps)),
    )
    funding = asked.within(tokens.reward)
    money = tokens.reward.exact(funding)
    with open_gateway(rpc, contract, key) as gateway:
        gas = gateway.terms.rehearse_create(params, prepared.spec.validation.commitments)
        if dry_run:
            told = {"dry_run": True, **result, "gas_wei": str(gas)}
            text = f"{spec} can be created; it would be funded with {money}\n  {quorum}\nnothing was sent"
            show_result(told, as_json=as_json, text=text)
            return
        if funding:
            agreed(f"move {money} of {gateway.account} into the escrow of this task", yes=yes, as_json=as_json)
        check_store(open_store(store), prepared.spec)
        task_id, receipt = create_task(gateway, prepared, params, funding, home)
        problem = _published(home, prepared, task_store(store, gateway, task_id))
    text = "\n".join(
        [
            f"task {task_id}: {prepared.spec.task.name}",
            f"  spec {result['spec_hash']}",
            f"  {len(prepared.start)} trainable values, {prepared.spec.rewards.rounds} rounds, funded with {money}",
            f"  {quorum}",
            *([f"not published yet: {problem}; the next command does it"] if problem else []),
            f"keep it going: deltaproof sponsor run --task {task_id} --home {home}",
        ]
    )
    done = {"task": task_id, **result, "transaction": hex_of(receipt.transaction_hash), "published": not problem}
    show_result(done, as_json=as_json, text=text)


def _published(home: Path, prepared: PreparedTask, store: ArtifactStore) -> str:
    """Publish the task's files; what went wrong, if anything."""
    from deltaproof.sponsor.keeping import publish_task

    try:
        publish_task(home, prepared.spec.digest(), len(prepared.start), store)
    except StoreUnavailable as error:
        return str(error)
    return ""


@dataclass(frozen=True)
class _Place:
    """Where a task is to be created and by whom, as far as chain and key can be reached."""

    gateway: Gateway | None
    account: Address | None
    reward: Address
    tokens: Tokens
    problems: Sequence[Problem]

    @classmethod
    def look(cls, rpc: str, contract: str, key: str, token: str | None) -> _Place:
        """Ask key and chain; what they refuse are problems, and amounts are then read as without a chain."""
        from deltaproof.chain import load_account
        from deltaproof.sponsor.amounts import ASSUMED, Tokens

        problems: list[Problem] = []
        gateway, account, reward, tokens = None, None, Address(""), ASSUMED
        try:
            account = address(load_account(key).address)
        except SigningKeyError as error:
            problems.append(Problem("--key", str(error), "pass the key that funds the task"))
        try:
            gateway = read_only_gateway(rpc, contract)
            stake = gateway.registry.token()
            reward = parse_address(token, "--token") if token else stake
            tokens = Tokens(gateway.money(reward), gateway.money(stake))
        except DeltaproofError as error:
            remedy = "pass the endpoint of the chain and the TaskManager's address"
            problems.append(Problem("--rpc, --contract", str(error), remedy))
            gateway = None
        return cls(gateway, account, reward, tokens, problems)


def _funding_problems(found: _Place, tables: dict[str, object], asked: Amount) -> Iterator[Problem]:
    """What keeps this account from funding the task on this chain."""
    from deltaproof.sponsor.life import check_funds, cost_of_a_round

    money = found.tokens.reward
    try:
        fund = asked.within(money)
    except DeltaproofError as error:
        yield Problem("--fund", str(error).removeprefix("--fund: "), "see docs/operating.md, amounts")
        return
    cost = cost_of_a_round(tables)
    if fund and cost is not None and fund < cost:
        remedy = f"a round and its verifiers cost {money.exact(cost)}"
        yield Problem("--fund", f"{money.exact(fund)} pays for no round", remedy)
    if found.gateway is None or found.account is None:
        return
    try:
        check_funds(found.gateway, found.reward, fund, found.account)
        if not found.gateway.connection.balance(found.account):
            what = f"{found.account} has no native currency"
            yield Problem("--key", what, "send it some: every transaction costs gas")
    except InsufficientFunds as error:
        yield Problem("--fund", str(error), "fund less, or send the account more of the token")
    except DeltaproofError as error:
        yield Problem("--rpc, --contract", str(error), "pass an endpoint that answers")
