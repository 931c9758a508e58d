"""Lies of a node: in events, in calldata, in headers and receipts, and in what it says of the contracts' state."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from eth_abi.abi import encode as abi_encode
from eth_utils.abi import abi_to_signature, collapse_if_tuple
from eth_utils.crypto import keccak

from deltaproof.auditor.audit.case import AuditOptions
from deltaproof.auditor.audit.check import Check, Subject
from deltaproof.auditor.audit.inclusion import _compare, _differences
from deltaproof.auditor.audit.run import Audit
from deltaproof.auditor.audit.sealed import check_seals
from deltaproof.auditor.audit.settled import QuorumKeys, key_possessions, quorum_signature
from deltaproof.auditor.audit.signatures import Equation, check_equations
from deltaproof.auditor.audit.stakes import check_stakes
from deltaproof.auditor.audit.state import check_round_state, check_task_state
from deltaproof.auditor.audit.terms import check_escrow
from deltaproof.auditor.facts.chainview import ChainView, Question, RpcView
from deltaproof.auditor.facts.loading import load_round
from deltaproof.auditor.facts.receipts import BlockProof, fetch_proofs
from deltaproof.auditor.index.calldata import decode_call
from deltaproof.auditor.index.events import INTERFACES, Event, EventType, event_types, snake
from deltaproof.auditor.index.reader import Index
from deltaproof.chain.abi.compiled import compiled
from deltaproof.errors import ChainError
from tests.auditor.colluding import Collusion
from tests.auditor.tampering.fields import abi_paths, change_at, changed, plain_paths
from tests.auditor.tampering.kinds import Cell, Level, Lie, Outcome
from tests.worlds.roles import RoleWorld

__all__ = ["block_lies", "call_lies", "event_lies", "state_lies"]

NODE = "node"
IN_BLOCK = ("events in block",)
OPENING_CALLS = {
    "reveal": "Revealed",
    "revealAttestation": "AttestationRevealed",
    "settle": "SettlementPosted",
    "registerKey": "KeyRegistered",
}
"""Calls that open what their events leave out."""
WHY_CALL = {
    "task_id": "the event of the same transaction names the task, and blocks prove the event",
    "proof.signers_key.x_imag": "the audit adds the registered keys of the signers itself",
    "proof.signers_key": "the audit adds the registered keys of the signers itself",
    "key_g1": "the event of the same transaction names the key, and blocks prove the event",
    "key_g2": "the event of the same transaction names the key, and blocks prove the event",
}


def event_lies() -> Iterator[Lie]:
    """Each argument of each event of each contract, against the log that the block proves."""
    for kind in event_types().values():
        target = f"event {kind.name}"
        for path in abi_paths(kind.inputs, snake):
            yield Lie(Cell(target, path, NODE, "altered"), partial(_event_altered, kind, path))
        for how in ("left out", "invented", "twice"):
            yield Lie(Cell(target, "", NODE, how), partial(_event_moved, kind, how))


def _event_altered(kind: EventType, path: str) -> Outcome:
    args = {snake(item["name"]): _sample(item) for item in kind.inputs}
    lied = copy.deepcopy(args)
    change_at(lied, path)
    return _compared({0: (kind.contract, kind.name, kind.dump(args))}, {0: _event(kind, lied)})


def _event_moved(kind: EventType, how: str) -> Outcome:
    args = {snake(item["name"]): _sample(item) for item in kind.inputs}
    event, proved = _event(kind, args), {0: (kind.contract, kind.name, kind.dump(args))}
    if how == "invented":
        return _compared({}, {0: event})
    return _compared(proved, {0: event, 1: event} if how == "twice" else {})


def _compared(proved: Mapping[int, tuple[str, str, str]], indexed: Mapping[int, Event]) -> Outcome:
    return Outcome.named(IN_BLOCK if list(_differences(dict(proved), dict(indexed))) else (), Level.EVENTS)


def _event(kind: EventType, args: Mapping[str, Any]) -> Event:
    return Event(1, 0, "0x" + "00" * 32, kind.contract, kind.name, args)


def _sample(item: Mapping[str, Any]) -> Any:
    kind: str = item["type"]
    if kind.endswith("]"):
        inner = {**item, "type": kind[: kind.rindex("[")]}
        return (_sample(inner), _sample(inner))
    if kind == "tuple":
        return {snake(part["name"]): _sample(part) for part in item["components"]}
    if kind == "address":
        return "0x" + "00" * 19 + "01"
    if kind.startswith("bytes"):
        return bytes(int(kind[5:] or 4))
    return kind == "bool" or 1


def call_lies(fresh: Callable[[], Collusion]) -> Iterator[Lie]:
    """Each argument of the calls that open what events leave out."""
    for function, event in OPENING_CALLS.items():
        contract = next(kind.contract for kind in event_types().values() if kind.name == event)
        entry = next(e for e in compiled(INTERFACES[contract]).abi if e["type"] == "function" and e["name"] == function)
        for path in abi_paths(entry["inputs"], snake):
            tell = partial(_other_call, fresh, contract, event, entry, path)
            yield Lie(Cell(f"call {function}", path, NODE, "altered"), tell)


def _other_call(
    fresh: Callable[[], Collusion], contract: str, event: str, entry: Mapping[str, Any], path: str
) -> Outcome:
    forgery = fresh()

    def lie(data: bytes) -> bytes:
        call = decode_call(contract, data)
        assert call is not None
        args = copy.deepcopy(call[1])
        change_at(args, path, _other_part)
        return _call(entry, args)

    forgery.calldata(event, lie, None if event == "KeyRegistered" else forgery.round)
    why = next((text for start, text in WHY_CALL.items() if path.startswith(start)), "")
    if path.endswith("[]"):
        why = why or "everybody signed: the list is empty"
    return Outcome.of(_opened(forgery), Level.EVENTS, why)


def _other_part(value: Any) -> Any:
    """The first of several parts altered: how many there are is fixed."""
    return (changed(value[0]), *value[1:]) if isinstance(value, tuple) else changed(value)


def _opened(forgery: Collusion) -> list[Check]:
    """What reads calldata."""
    audit = Audit(Index(forgery.engine), None, None, AuditOptions(replays=0))
    task = audit.task_case(forgery.world.task)
    case, keys = audit.round_case(task, load_round(audit.index, task.facts, forgery.round)), QuorumKeys(task.facts)
    signed = [quorum_signature(case, posted, keys) for posted in case.facts.settlements]
    signed += key_possessions(task, [forgery.round], keys)
    equations = [item for item in signed if isinstance(item, Equation)]
    checks = [item for item in signed if isinstance(item, Check)]
    return [*check_seals(case), *checks, *check_equations(equations)]


def _call(entry: Mapping[str, Any], args: Mapping[str, Any]) -> bytes:
    types = [collapse_if_tuple(dict(item)) for item in entry["inputs"]]
    values = [_ordered(item, args[snake(item["name"])]) for item in entry["inputs"]]
    return bytes(keccak(text=abi_to_signature(entry))[:4]) + bytes(abi_encode(types, values))  # type: ignore[arg-type]


def _ordered(item: Mapping[str, Any], value: Any) -> Any:
    if item["type"] == "tuple":
        return tuple(_ordered(part, value[snake(part["name"])]) for part in item["components"])
    return value


WHY_BLOCK = {
    "header.totalDifficulty": "under no hash, and never read",
    "header.size": "under no hash, and never read",
    "header.uncles": "never read; `sha3Uncles` is under the hash",
    "header.transactions": "never read; `transactionsRoot` is under the hash, and calldata has rows of its own",
    "header.withdrawals": "never read; `withdrawalsRoot` is under the hash",
    "receipt.receipts[].transactionHash": "only says where to look; calldata has to open what the event says",
}
WHY_RECEIPT = "under no hash, and never read: a log's block and place follow from the header and its order"


def block_lies(world: RoleWorld, index: Index) -> Iterator[Lie]:
    """Each field of a block's header, of its receipts and of their logs."""
    number = max(index.block_numbers())
    proof = fetch_proofs(world.rpc, [number])[0]
    for target, part in (("header", dict(proof.header)), ("receipt", {"receipts": list(proof.receipts)})):
        for path in plain_paths(part):
            yield Lie(Cell(target, path, NODE, "altered"), partial(_other_block, index, proof, target, path))
    yield Lie(Cell("header", "", NODE, "another block"), partial(_another_block, world, index, number))
    for how in ("left out", "in another order"):
        yield Lie(Cell("receipt", "receipts[]", NODE, how), partial(_other_receipts, index, proof, how))


def _other_block(index: Index, proof: BlockProof, target: str, path: str) -> Outcome:
    lied = copy.deepcopy(dict(proof.header) if target == "header" else {"receipts": list(proof.receipts)})
    if not change_at(lied, path, _other_word):
        return Outcome(Level.NONE, why="empty in this block")
    forged = BlockProof(lied, proof.receipts) if target == "header" else BlockProof(proof.header, lied["receipts"])
    why = WHY_BLOCK.get(f"{target}.{path}", WHY_RECEIPT if target == "receipt" else "")
    return Outcome.of(_included(index, proof, forged), Level.EVENTS, why)


def _other_receipts(index: Index, proof: BlockProof, how: str) -> Outcome:
    receipts = list(proof.receipts)[:-1] if how == "left out" else [*proof.receipts, *proof.receipts][::-1]
    return Outcome.of(_included(index, proof, BlockProof(proof.header, receipts)), Level.EVENTS)


def _another_block(world: RoleWorld, index: Index, number: int) -> Outcome:
    """A whole other block, true in itself: its hash is not the one that everybody knows."""
    proof, other = fetch_proofs(world.rpc, [number, number - 1])
    return Outcome.of(_included(index, proof, other), Level.EVENTS)


def _included(index: Index, proof: BlockProof, forged: BlockProof) -> list[Check]:
    """The index against a block as the node gives it."""
    number = int(str(proof.header["number"]), 16)
    told = index.blocks([number])[number]
    return list(_compare(index, forged, told, index.events(blocks=[number]), Subject(0)))


def _other_word(value: Any) -> Any:
    if value == "0x":
        return "0x01"
    if isinstance(value, str) and value.startswith("0x"):
        return value[:-1] + ("1" if value[-1] != "1" else "2")
    return value[:-1] if isinstance(value, list) else not value


class _LyingView:
    """Answers of the contracts with one value altered."""

    def __init__(self, view: ChainView, lie: StateLie | None) -> None:
        self._view, self._lie = view, lie
        self.asked: list[tuple[Question, Any]] = []

    def ask(self, questions: Sequence[Question]) -> list[Any]:
        answers = copy.deepcopy(self._view.ask(questions))
        for place, question in enumerate(questions):
            if self._lie and self._lie[0] == len(self.asked):
                wrapped = {"answer": answers[place]}
                change_at(wrapped, self._lie[1], self._lie[2])
                answers[place] = wrapped["answer"]
            self.asked.append((question, answers[place]))
        return answers


StateLie = tuple[int, str, Callable[[Any], Any]]
"""Which answer, which part of it, and what it becomes."""
WHY_STATE = {
    ("balanceOf", "more"): "anybody may send a contract more than it owes; less than it owes is the lie that pays",
    ("token", "altered"): "fixed when the registry was made, and no event names it; compare with a second endpoint",
}


def state_lies(world: RoleWorld, index: Index) -> Iterator[Lie]:
    """Each value of each answer about task, rounds, escrow and stakes."""
    states = _States(world, index)
    seen: set[tuple[str, str]] = set()
    for number, (question, answer) in enumerate(states.checks(None)[1]):
        for path in plain_paths({"answer": answer}):
            if (question.function, path) not in seen:
                seen.add((question.function, path))
                changes = {"more": changed, "less": _less} if question.function == "balanceOf" else {"altered": changed}
                for how, change in changes.items():
                    tell = partial(states.told, (number, path, change), (question.function, how))
                    yield Lie(Cell(f"state {question.function}", path, NODE, how), tell)


def _less(value: int) -> int:
    return value - 1


class _States:
    """What the contracts of a whole history say, asked once."""

    def __init__(self, world: RoleWorld, index: Index) -> None:
        self._world, self._index = world, index
        self._task = Audit(index, None, world.rpc, AuditOptions(replays=0)).task_case(world.task)
        self._rounds = [load_round(index, self._task.facts, number) for number in self._task.facts.rounds]
        self._kept: dict[str, Any] = {}

    def told(self, lie: StateLie, name: tuple[str, str]) -> Outcome:
        try:
            return Outcome.of(self.checks(lie)[0], Level.EVENTS, WHY_STATE.get(name, ""))
        except ChainError:
            return Outcome(Level.EVENTS, ("malformed answer",), "no reader accepts it")

    def checks(self, lie: StateLie | None) -> tuple[list[Check], list[tuple[Question, Any]]]:
        now = RpcView(self._world.rpc, self._index.deployment, self._index.head().number)
        view = _LyingView(_Remembered(now, self._kept), lie)
        made = [
            *check_escrow(self._task, view),
            *check_task_state(self._task, view),
            *check_round_state(self._task, view, self._rounds),
            *check_stakes(self._index, view, Subject(0)),
        ]
        return made, view.asked


class _Remembered:
    """A view that asks the node each question once."""

    def __init__(self, view: ChainView, kept: dict[str, Any]) -> None:
        self._view, self._kept = view, kept

    def ask(self, questions: Sequence[Question]) -> list[Any]:
        missing = [question for question in questions if repr(question) not in self._kept]
        if missing:
            self._kept |= dict(zip(map(repr, missing), self._view.ask(missing), strict=True))
        return [self._kept[repr(question)] for question in questions]
