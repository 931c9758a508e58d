"""`deltaproof dispute`: disputes by hand. Running roles do all of this by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from deltaproof.api.connecting import open_gateway, parse_address, read_only_gateway, store_to_read
from deltaproof.chain.abi.enums import Component, Role
from deltaproof.cli.amounts import YesOption, agreed
from deltaproof.cli.common import (
    ContractOption,
    DrandOption,
    HomeOption,
    JsonOption,
    KeyOption,
    RpcOption,
    StoreOption,
    TaskOption,
    show_result,
)
from deltaproof.cli.reporting import reporter
from deltaproof.errors import UsageError
from deltaproof.reporting import moment_text

if TYPE_CHECKING:
    from deltaproof.chain import Gateway
    from deltaproof.chain.abi.dispute_structs import Case, Demand
    from deltaproof.cli.documents.participants import (
        AnsweredDemand,
        ClosedDemand,
        Credit,
        DemandPrice,
        OpenedCase,
        OpenedDemand,
        VotePrice,
        WhatAnswerWould,
    )
    from deltaproof.protocol.types import Digest32

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    help="""Demand, answer, prove, vote: what to do about somebody else's fault.

`list` shows what is open. `prove` needs no bond: it shows the contract what it can decide at once. `demand` asks
somebody to show something, for a bond that comes back if they do not. `revote` asks all staked verifiers whether a
settlement is right; `vote` is for them. Running trainers and verifiers answer, prove and vote by themselves.""",
)

DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Say what it would cost and what can be lost, and send nothing.")
]
NumberArgument = Annotated[int, typer.Argument(help="Number of the demand or case, see `dispute list`.", min=1)]


@app.command("list")
def list_(
    rpc: RpcOption,
    contract: ContractOption,
    task: Annotated[int | None, typer.Option("--task", help="Of this task only.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Closed ones, too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Open demands and cases, the newest first."""
    gateway = read_only_gateway(rpc, contract)
    demands = {
        number: demand
        for number in range(gateway.court.demand_count(), 0, -1)
        if ((demand := gateway.court.demand(number)).task_id == task or task is None) and (every or not demand.closed)
    }
    cases = {
        number: case
        for number in range(gateway.jury.case_count(), 0, -1)
        if ((case := gateway.jury.case(number)).task_id == task or task is None) and (every or not case.phase.over)
    }
    lines = [f"demand {number}: {_demand_line(demand)}" for number, demand in demands.items()]
    lines += [f"case {number}: {_case_line(case)}" for number, case in cases.items()]
    result = {
        "demands": [{"number": number, **_demand_fields(demand)} for number, demand in demands.items()],
        "cases": [{"number": number, **_case_fields(case)} for number, case in cases.items()],
    }
    show_result(result, as_json=as_json, text="\n".join(lines) or "nothing is in dispute")


@app.command("show")
def show(
    kind: Annotated[str, typer.Argument(help="`demand` or `case`.")],
    number: NumberArgument,
    rpc: RpcOption,
    contract: ContractOption,
    as_json: JsonOption = False,
) -> None:
    """One demand or case as it stands: who has to do what until when."""
    gateway = read_only_gateway(rpc, contract)
    if kind == "demand":
        demand = _demand(gateway, number)
        result, text = _demand_fields(demand), f"demand {number}: {_demand_line(demand)}"
    elif kind == "case":
        case = _case(gateway, number)
        result, text = _case_fields(case), f"case {number}: {_case_line(case)}"
        level = gateway.jury.level(number, case.level)
        text += f"; votes of this level: {level.upholding} uphold, {level.overturning} overturn"
    else:
        raise UsageError(f"say `demand` or `case`, not {kind!r}")
    show_result({"number": number, **result}, as_json=as_json, text=text)


@app.command("demand")
def demand(
    rpc: RpcOption,
    contract: ContractOption,
    key: KeyOption,
    task: TaskOption,
    trainer: Annotated[str, typer.Option(help="Whose work, score or leaf.")],
    round_: Annotated[int | None, typer.Option("--round", help="Round of the work. Default: the last.")] = None,
    step: Annotated[int | None, typer.Option(help="Record of the transcript, 0 to the number of steps.")] = None,
    component: Annotated[
        str, typer.Option(help="theta, first_moment, second_moment, error_memory, gradient.")
    ] = "theta",
    chunk: Annotated[int, typer.Option(help="Which 256 values of it.", min=0)] = 0,
    score_of: Annotated[str | None, typer.Option("--score-by", help="Verifier whose score to ask for.")] = None,
    leaf: Annotated[bool, typer.Option("--leaf", help="Ask for the settled leaf.")] = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Ask somebody to show something on chain, for a bond.

    `--step` asks the trainer for one chunk of its committed work, `--score-by` a verifier for the score it attested,
    `--leaf` anybody for the trainer's leaf of the posted settlement, in the first half of its window. Without
    an answer in time the bond comes back, and the trainer is slashed, the verifier loses its fee, the settlement falls.
    With one, the court's part of the bond (`winnerBps`, a half by default) goes to the trainer or verifier, or to
    whoever showed the leaf, and the rest is burned.
    """
    from deltaproof.chain.participation import lock_stake
    from deltaproof.disputing.committed import committed_work
    from deltaproof.protocol.types import RoundIndex, TaskId

    if (step is not None) + (score_of is not None) + leaf != 1:
        raise UsageError("say what to ask for: --step N, --score-by VERIFIER, or --leaf")
    if component.upper() not in Component.__members__:
        raise UsageError(f"--component is one of {', '.join(c.name.lower() for c in Component)}, not {component!r}")
    with open_gateway(rpc, contract, key) as gateway:
        terms, money = gateway.court.params(), gateway.money(gateway.registry.token())
        whom, task_id = parse_address(trainer, "--trainer"), TaskId(task)
        # Read before anybody is asked: the demand is about what is posted now, or about nothing.
        posted = gateway.posted_digest(task_id)
        cost = f"bond {money.text(terms.demand_bond)}, time to answer {terms.answer_seconds} s"
        if dry_run:
            text = f"would demand; {cost}. An answer costs the whole bond; no answer brings it back."
            told: DemandPrice = {"bond": str(terms.demand_bond), "seconds": terms.answer_seconds}
            show_result(told, as_json=as_json, text=text)
            return
        agreed(f"demand, with a {cost}", yes=yes, as_json=as_json, named=False)
        lock_stake(gateway, Role.CHALLENGER, terms.demand_bond)
        if leaf:
            number, _ = gateway.court.demand_leaf(task_id, posted, whom)
        elif score_of is not None:
            number, _ = gateway.court.demand_score(task_id, posted, parse_address(score_of, "--score-by"), whom)
        else:
            assert step is not None
            at = RoundIndex(round_ or gateway.tasks.phase(task_id).round)
            work = committed_work(gateway, task_id, at, whom)
            if work is None:
                raise UsageError(f"{whom} has revealed no work in round {at} of task {task}")
            number, _ = gateway.court.demand_opening(work, step, Component[component.upper()], chunk)
        until = gateway.court.demand(number).deadline
    result: OpenedDemand = {"demand": number, "bond": str(terms.demand_bond), "deadline": until}
    show_result(result, as_json=as_json, text=f"demand {number} is open until {moment_text(until)}; {cost}")


@app.command("answer")
def answer(
    number: NumberArgument,
    rpc: RpcOption,
    contract: ContractOption,
    store: StoreOption,
    key: KeyOption,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Answer a demand from what the store holds, or close one that nobody answered in time.

    A settled leaf and a verifier's score can be shown by anybody; the court's part of the bond (`winnerBps`, a half by
    default) goes to whoever showed the leaf, or to the verifier, and the rest is burned. A chunk of a trainer's work is
    in that trainer's home: keep `deltaproof trainer run` going.
    """
    from deltaproof.chain.abi.dispute_structs import DemandKind
    from deltaproof.disputing.demands import leaf_answer, score_pair
    from deltaproof.disputing.settlements import posted_leaves
    from deltaproof.protocol.outcome.attestation import Attestation

    with open_gateway(rpc, contract, key) as gateway:
        found = _demand(gateway, number)
        opened = store_to_read(store, gateway, found.task_id)
        if found.closed:
            raise UsageError(f"demand {number} is closed")
        over = found.deadline <= gateway.connection.timestamp()
        if dry_run:
            what = "close it: its time is over" if over else "answer it"
            would: WhatAnswerWould = {"would": what}
            show_result(would, as_json=as_json, text=f"would {what}; nothing can be lost but gas")
            return
        if over:
            gateway.court.close_demand(number)
            closed: ClosedDemand = {"closed": number}
            show_result(closed, as_json=as_json, text=f"demand {number} is closed unanswered")
            return
        if found.kind is DemandKind.OPENING:
            raise UsageError(
                "only the trainer's home holds that chunk: keep `deltaproof trainer run` going, it answers"
            )
        view = gateway.tasks.round(found.task_id, found.round)
        leaves = posted_leaves(gateway, opened, found.task_id, found.round, view)
        if leaves is None:
            raise UsageError("nobody has published the leaves of the settlement in this store")
        if found.kind is DemandKind.LEAF:
            sent = leaf_answer(gateway, number, found, leaves)
        else:
            digest = _artifact_of(gateway, found)
            pair = score_pair(opened.get_attestation(Attestation, digest), leaves, found.subject)
            sent = None if pair is None else gateway.court.answer_score(number, pair)
        if sent is None:
            raise UsageError(f"the store holds no answer to demand {number}, or somebody else was faster")
    told: AnsweredDemand = {"answered": number}
    show_result(told, as_json=as_json, text=f"demand {number} is answered")


@app.command("prove")
def prove(
    rpc: RpcOption,
    contract: ContractOption,
    store: StoreOption,
    key: KeyOption,
    task: TaskOption,
    demand: Annotated[
        int | None, typer.Option(help="Look at what a trainer answered to this demand, of whatever round.", min=1)
    ] = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Look for what a contract can decide at once in the running round, and prove it: no bond, no vote.

    A wrong settlement (a leaf, the order, the total, the payouts), a verifier who signed two, a trainer whose openings
    show a wrong start, update, delta or record, or whose answer to a demand shows a value that is no number. The
    prover's part of the slash becomes credit of the key.
    """
    from deltaproof.disputing.watching import Watcher
    from deltaproof.protocol.types import TaskId

    with open_gateway(rpc, contract, key) as gateway:
        artifacts = store_to_read(store, gateway, task)
        watcher = Watcher(gateway, artifacts, TaskId(task), reporter(as_json), prove=not dry_run)
        if demand is None:
            watcher.look()
        else:
            watcher.look_at_answer(demand, _demand(gateway, demand))
        credit = gateway.registry.credit_of(gateway.account)
        told = gateway.money(gateway.registry.token()).text(credit)
    text = f"credit of {gateway.account}: {told}; `deltaproof claim` pays it out"
    result: Credit = {"credit": str(credit)}
    show_result(result, as_json=as_json, text=text)


@app.command("revote")
def revote(
    rpc: RpcOption,
    contract: ContractOption,
    key: KeyOption,
    task: Annotated[int | None, typer.Option("--task", help="Task whose posted settlement is in question.")] = None,
    appeal: Annotated[int | None, typer.Option("--appeal", help="Case whose outcome to appeal against.")] = None,
    evidence: Annotated[str, typer.Option(help="SHA-256 of what the store holds about it.")] = "",
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Ask all staked verifiers whether a settlement is right; or ask twice as many about the outcome.

    For what no contract can decide: verdicts and scores. The bond comes back if the settlement falls in the end.
    """
    from deltaproof.chain.participation import lock_stake
    from deltaproof.protocol.types import ZERO_DIGEST, Digest32, TaskId, TokenAmount, digest32, hex_of

    if (task is None) == (appeal is None):
        raise UsageError("say either --task N, for a new case, or --appeal CASE")
    about = digest32(evidence) if evidence else Digest32(ZERO_DIGEST)
    with open_gateway(rpc, contract, key) as gateway:
        terms, money = gateway.jury.params(), gateway.money(gateway.registry.token())
        level = 0 if appeal is None else _case(gateway, appeal).level + 1
        posted = None if task is None else gateway.posted_digest(TaskId(task))
        bond = TokenAmount(terms.bond << level)
        if dry_run:
            text = f"would ask for a vote of level {level}: bond {money.text(bond)}, lost if the other side wins"
            show_result({"bond": str(bond), "level": level}, as_json=as_json, text=text)
            return
        risk = (
            f"ask for a vote of level {level}, with a bond of {money.exact(bond)} that is lost if the other side wins"
        )
        agreed(risk, yes=yes, as_json=as_json, named=False)
        lock_stake(gateway, Role.CHALLENGER, bond)
        if appeal is not None:
            gateway.jury.appeal(appeal, level - 1, about)
            number = appeal
        else:
            assert task is not None
            assert posted is not None
            number, _ = gateway.jury.open_case(TaskId(task), posted, about)
    result: OpenedCase = {"case": number, "level": level, "bond": str(bond), "evidence": hex_of(about)}
    show_result(result, as_json=as_json, text=f"case {number}, level {level}: bond {money.text(bond)}")


@app.command("vote")
def vote(
    number: NumberArgument,
    rpc: RpcOption,
    contract: ContractOption,
    key: KeyOption,
    home: HomeOption,
    overturn: Annotated[
        bool | None, typer.Option("--overturn/--uphold", help="Your vote: is the settlement wrong, or right?")
    ] = None,
    drand: DrandOption = "",
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Do what a case waits for: draw seats, seal your vote, show it, move on, settle.

    Run it again in each phase; the salt comes from `--home`, so seal and show from the same one. A seat without a vote
    costs a little stake, a vote at the last level against what everybody says there more.
    """
    from deltaproof.chain.abi.dispute_structs import Ballot, CasePhase
    from deltaproof.disputing.jury import JuryDesk, vote_price, vote_salt
    from deltaproof.protocol.commit.secrets import HomeSecret

    with open_gateway(rpc, contract, key, drand=drand) as gateway:
        case, now = _case(gateway, number), gateway.connection.timestamp()
        me, jury = gateway.account, gateway.jury
        open_vote = case.phase is CasePhase.SEAL and now < case.deadline
        mine = jury.vote(number, case.level, me)
        if open_vote and mine.ballot is Ballot.NONE and overturn is None and jury.seats(number, case.level, me):
            raise UsageError(f"case {number} waits for your vote: say --overturn or --uphold")
        if dry_run:
            seats, risk = jury.seats(number, case.level, me), vote_price(gateway, number, case.level)
            told = gateway.money(gateway.registry.token()).text(risk)
            text = f"{_case_line(case)}; your votes: {seats}; at risk with a vote: {told}"
            price: VotePrice = {"seats": seats, "at_risk": str(risk)}
            show_result(price, as_json=as_json, text=text)
            return
        desk = JuryDesk(gateway, vote_salt(HomeSecret.of(home)), lambda _case: overturn, reporter(as_json))
        desk.mind_one(number, now)
        case = _case(gateway, number)
    show_result({"case": number, **_case_fields(case)}, as_json=as_json, text=f"case {number}: {_case_line(case)}")


def _artifact_of(gateway: Gateway, demand: Demand) -> Digest32:
    """The document that a verifier revealed; its digest is in the event of the reveal."""
    from deltaproof.chain.events.participants import AttestationRevealed
    from deltaproof.chain.tasklog import TaskLog

    log = TaskLog(gateway, [gateway.verifiers.address], demand.task_id)
    log.refresh(demand.round)
    for event in log.of(AttestationRevealed, demand.round):
        if event.verifier == demand.respondent:
            return event.artifact_digest
    raise UsageError(f"{demand.respondent} has revealed no attestation in round {demand.round}")


def _demand(gateway: Gateway, number: int) -> Demand:
    if not 1 <= number <= (count := gateway.court.demand_count()):
        raise UsageError(f"there is no demand {number}; {_known('demands', count)}")
    return gateway.court.demand(number)


def _case(gateway: Gateway, number: int) -> Case:
    if not 1 <= number <= (count := gateway.jury.case_count()):
        raise UsageError(f"there is no case {number}; {_known('cases', count)}")
    return gateway.jury.case(number)


def _known(things: str, count: int) -> str:
    return f"{things} run from 1 to {count}" if count else f"there are no {things} yet"


def _demand_fields(demand: Demand) -> dict[str, object]:
    return {
        "kind": demand.kind.name.lower(), "task": demand.task_id, "round": demand.round,
        "respondent": demand.respondent, "challenger": demand.challenger, "deadline": demand.deadline,
        "subject": demand.subject, "step": demand.step, "component": demand.component.name.lower(),
        "chunk": demand.chunk, "closed": demand.closed,
    }  # fmt: skip


def _demand_line(demand: Demand) -> str:
    from deltaproof.disputing.demands import demand_text

    state = "closed" if demand.closed else f"open until {moment_text(demand.deadline)}"
    return f"task {demand.task_id}, round {demand.round}: {demand_text(demand)}; {state}"


def _case_fields(case: Case) -> dict[str, object]:
    from deltaproof.protocol.types import hex_of

    return {
        "task": case.task_id, "round": case.round, "phase": case.phase.name.lower(), "level": case.level,
        "overturned": case.overturned, "deadline": case.deadline, "electorate": str(case.electorate),
        "settlement": hex_of(case.settlement),
    }  # fmt: skip


def _case_line(case: Case) -> str:
    from deltaproof.chain.abi.dispute_structs import CasePhase

    until = f" until {moment_text(case.deadline)}" if case.deadline and not case.phase.over else ""
    outcome = "fell otherwise" if case.phase is CasePhase.MOOT else "void" if case.overturned else "upheld"
    return f"task {case.task_id}, round {case.round}, level {case.level}: {case.phase.name.lower()}{until}, {outcome}"
