"""From a draft to a funded task, with every doubt raised before money moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deltaproof.api.connecting import open_gateway, parse_address, read_only_gateway, written_store
from deltaproof.api.network import Network
from deltaproof.chain import Gateway, load_signer
from deltaproof.chain.abi.structs import TaskParams
from deltaproof.chain.contracts.money import Amount
from deltaproof.chain.contracts.tasks import task_params
from deltaproof.errors import (
    DeltaproofError,
    InsufficientFunds,
    Problem,
    SigningKeyError,
    SpecError,
    StoreUnavailable,
)
from deltaproof.protocol.commit.secrets import HomeSecret
from deltaproof.protocol.types import Address, TaskId, TokenAmount, address, hex_of
from deltaproof.sponsor.amounts import ASSUMED, Tokens, money_lines
from deltaproof.sponsor.checking import check_draft
from deltaproof.sponsor.drafts import PreparedTask, complete_draft
from deltaproof.sponsor.keeping import check_store, publish_task
from deltaproof.sponsor.life import check_funds, cost_of_a_round, create_task
from deltaproof.sponsor.quorum import QuorumMeaning, quorum_meaning
from deltaproof.sponsor.risks import economics_record, economics_table, objections
from deltaproof.sponsor.short_phases import short_phases, takes_short_phases
from deltaproof.store.backend import unwritable_folder
from deltaproof.tuning.training.optimizers import constants_root, constants_table
from incentives.economics import economics

__all__ = ["CreatedTask", "TaskProposal", "propose_task"]

Tell = Callable[[str], None]


@dataclass(frozen=True)
class CreatedTask:
    """What creating came to."""

    number: TaskId
    transaction: str
    unpublished: str
    """Why the task's files are not in the store yet; empty if they are. The sponsor's life publishes them, too."""


@dataclass(frozen=True)
class TaskProposal:
    """A complete draft that the contract would accept. Nothing was sent yet."""

    network: Network
    key: str
    home: Path
    prepared: PreparedTask
    params: TaskParams
    funding: TokenAmount
    """Smallest units of the reward token."""
    tokens: Tokens
    quorum: QuorumMeaning
    account: Address
    """Who funds it."""
    gas_wei: int
    """Price of creating it, as the node estimates."""
    attacks: Mapping[str, object]
    """What every kind of attack would win or lose in a round."""

    @property
    def money(self) -> str:
        """The funding in tokens, every digit."""
        return self.tokens.reward.exact(self.funding)

    def record(self) -> dict[str, Any]:
        """What `task create --json` says of it."""
        return {
            "spec_hash": hex_of(self.prepared.spec.digest()),
            "start_digest": hex_of(self.prepared.spec.start_digest),
            "parameters": len(self.prepared.start),
            "funded": str(self.funding),
            "verifiers_away": self.quorum.away,
            "verifiers_lying": self.quorum.lying,
            "economics": dict(self.attacks),
        }

    def create(self) -> CreatedTask:
        """Create, fund and publish the task: from here on money moves. Raises StoreUnavailable before anything is
        sent, ChainError, InsufficientFunds."""
        check_store(self.network.artifacts(), self.prepared.spec)
        with open_gateway(self.network.rpc, self.network.contract, self.key) as gateway:
            number, receipt = create_task(
                gateway, self.prepared, self.params, self.funding, self.home, self.network.store
            )
            unpublished = ""
            try:
                publish_task(
                    self.home, self.prepared.spec.digest(), len(self.prepared.start),
                    written_store(self.network.store, gateway, number),
                )  # fmt: skip
            except StoreUnavailable as error:
                unpublished = str(error)
        return CreatedTask(number, hex_of(receipt.transaction_hash), unpublished)


def propose_task(
    draft: Path,
    network: Network,
    *,
    key: str,
    home: Path,
    fund: Amount,
    token: str | None = None,
    speed: float = 1.0,
    accept_risk: bool = False,
    tell: Tell = lambda line: None,
) -> TaskProposal:
    """Check and complete a draft, and ask the contract whether it would accept it.

    All problems of spec, key, chain and funds are told at once, before a model is loaded. `tell` hears what is worked
    on, and the table of what attacks would win. `speed`: how many times faster the participants' machines are than
    this one. Raises SpecError with every problem, also for terms under which an attack pays (unless `accept_risk`).
    """
    found = _Place.look(network, key, token)
    checked = check_draft(draft, found.tokens)
    problems = [
        *checked.problems, *found.problems, *_funding_problems(found, checked.tables, fund),
        *_store_problems(network.store), *_phase_problems(found, checked.tables),
    ]  # fmt: skip
    if problems:
        raise SpecError.of(str(draft), problems)
    tokens = found.tokens
    prepared = complete_draft(
        checked, HomeSecret.of(home), tell, speed=speed, objections=objections(tokens, tell, accept_risk=accept_risk)
    )
    spec = prepared.spec
    risks = economics(spec)
    tell("\n".join([*money_lines(spec, tokens), *economics_table(risks, tokens)]))
    params = task_params(
        spec,
        token=found.reward,
        parameters=len(prepared.start),
        constants_root=constants_root(constants_table(spec.optimizer, spec.training.steps)),
    )
    with open_gateway(network.rpc, network.contract, key) as gateway:
        gas, account = gateway.terms.rehearse_create(params, spec.validation.commitments), gateway.account
    return TaskProposal(
        network, key, home, prepared, params, fund.within(tokens.reward), tokens,
        quorum_meaning(spec.verification.quorum_bps, spec.verification.min_verifiers), account, gas,
        economics_record(risks),
    )  # fmt: skip


@dataclass(frozen=True)
class _Place:
    """Where a task is to be created and by whom, as far as chain and key can be reached."""

    gateway: Gateway | None
    account: Address | None
    reward: Address
    tokens: Tokens
    problems: Sequence[Problem]

    @classmethod
    def look(cls, network: Network, key: str, token: str | None) -> _Place:
        """Ask key and chain; what they refuse are problems, and amounts are then read as without a chain."""
        problems: list[Problem] = []
        gateway, account, reward, tokens = None, None, Address(""), ASSUMED
        try:
            account = address(load_signer(key).address)
        except SigningKeyError as error:
            problems.append(Problem("--key", str(error), "pass the key that funds the task"))
        try:
            gateway = read_only_gateway(network.rpc, network.contract)
            stake = gateway.registry.token()
            reward = parse_address(token, "--token") if token else stake
            tokens = Tokens(gateway.money(reward), gateway.money(stake))
        except DeltaproofError as error:
            remedy = "pass the endpoint of the chain and the TaskManager's address"
            problems.append(Problem("--rpc, --contract", str(error), remedy))
            gateway = None
        return cls(gateway, account, reward, tokens, problems)


def _store_problems(store: str) -> Iterator[Problem]:
    """A task whose files nobody can publish is money spent for nothing."""
    if refused := unwritable_folder(store):
        yield Problem("--store", f"{refused} is no folder that can be written to", "name another")


def _phase_problems(found: _Place, tables: dict[str, object]) -> Iterator[Problem]:
    """The contract would tell of one phase at a time, and after the model was loaded."""
    if found.gateway is not None and not takes_short_phases(found.gateway.connection.chain_id):
        yield from short_phases(tables)


def _funding_problems(found: _Place, tables: dict[str, object], asked: Amount) -> Iterator[Problem]:
    """What keeps this account from funding the task on this chain."""
    money = found.tokens.reward
    try:
        fund = asked.within(money)
    except DeltaproofError as error:
        yield Problem("--fund", str(error).removeprefix("--fund: "), "see docs/commands.md, amounts")
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
            what = f"{found.account} has nothing of the chain's coin"
            yield Problem("--key", what, "send it some: every transaction costs gas")
    except InsufficientFunds as error:
        yield Problem("--fund", str(error), "fund less, or send the account more of the token")
    except DeltaproofError as error:
        yield Problem("--rpc, --contract", str(error), "pass an endpoint that answers")
