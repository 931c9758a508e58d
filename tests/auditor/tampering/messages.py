"""Lies of a node: in events, in calldata, in headers and receipts, and in what it says of the contracts' state."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from eth_abi.abi import encode as abi_encode
from eth_utils.abi import abi_to_signature, collapse_if_tuple
from eth_utils.crypto import keccak

from deltaproof.auditor.audit.case import AuditOptions
from deltaproof.auditor.audit.check import Check, Subject
from deltaproof.auditor.audit.inclusion import _differences
from deltaproof.auditor.audit.run import Audit
from deltaproof.auditor.audit.sealed import check_seals
from deltaproof.auditor.audit.settled import QuorumKeys, key_possessions, quorum_signature
from deltaproof.auditor.audit.signatures import Equation, check_equations
from deltaproof.auditor.audit.stakes import check_stakes
from deltaproof.auditor.audit.terms import check_escrow, check_round_state, check_task_state
from deltaproof.auditor.facts.chainview import ChainView, Question, RpcView
from deltaproof.auditor.facts.loading import load_round
from deltaproof.auditor.facts.receipts import BlockProof, fetch_proofs
from deltaproof.auditor.index.calldata import decode_call
from deltaproof.auditor.index.events import INTERFACES, Event, EventType, event_types, snake
from deltaproof.auditor.index.reader import Index
from deltaproof.chain.abi.compiled import compiled
from tests.auditor.colluding import Collusion
from tests.auditor.tampering.fields import abi_paths, change_at, changed, plain_paths
from tests.auditor.tampering.kinds import Kind, Level
from tests.worlds.roles import RoleWorld

__all__ = ["block_kinds", "call_kinds", "event_kinds", "state_kinds"]

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


def event_kinds() -> Iterator[Kind]:
    """Each argument of each event of each contract, against the log that the block proves."""
    for kind in event_types().values():
        args = {snake(item["name"]): _sample(item) for item in kind.inputs}
        event, target = _event(kind, args), f"event {kind.name}"
        proved = {0: (kind.contract, kind.name, kind.dump(args))}
        for path in abi_paths(kind.inputs, snake):
            lied = copy.deepcopy(args)
            change_at(lied, path)
            yield _compared(target, path, "altered", proved, {0: _event(kind, lied)})
        yield _compared(target, "", "left out", proved, {})
        yield _compared(target, "", "invented", {}, {0: event})
        yield _compared(target, "", "twice", proved, {0: event, 1: event})


def _compared(
    target: str, path: str, lie: str, proved: Mapping[int, tuple[str, str, str]], indexed: Mapping[int, Event]
) -> Kind:
    found = IN_BLOCK if list(_differences(dict(proved), dict(indexed))) else ()
    return Kind(target, path, NODE, lie, Level.EVENTS if found else Level.NONE, found)


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


def call_kinds(fresh: Callable[[], Collusion]) -> Iterator[Kind]:
    """Each argument of the calls that open what events leave out."""
    for function, event in OPENING_CALLS.items():
        contract = next(kind.contract for kind in event_types().values() if kind.name == event)
        entry = next(e for e in compiled(INTERFACES[contract]).abi if e["type"] == "function" and e["name"] == function)
        for path in abi_paths(entry["inputs"], snake):
            forgery = fresh()
            round_ = None if event == "KeyRegistered" else forgery.round

            def lie(data: bytes, contract: str = contract, entry: Any = entry, path: str = path) -> bytes:
                call = decode_call(contract, data)
                assert call is not None
                args = copy.deepcopy(call[1])
                change_at(args, path, _other_part)
                return _call(entry, args)

            forgery.calldata(event, lie, round_)
            why = next((text for start, text in WHY_CALL.items() if path.startswith(start)), "")
            if path.endswith("[]"):
                why = why or "everybody signed: the list is empty"
            yield Kind.of(f"call {function}", path, NODE, "altered", _opened(forgery), Level.EVENTS, why)


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


NOT_HASHED = "not under the block's hash, and never read"


def block_kinds(world: RoleWorld, index: Index) -> Iterator[Kind]:
    """Each field of a block's header, of its receipts and of their logs."""
    number = max(index.block_numbers())
    proof = fetch_proofs(world.rpc, [number])[0]
    for target, part in (("header", dict(proof.header)), ("receipt", {"receipts": list(proof.receipts)})):
        for path in plain_paths(part):
            lied = copy.deepcopy(part)
            if not change_at(lied, path, _other_word):
                yield Kind(target, path, NODE, "altered", Level.NONE, why="empty in this block")
                continue
            forged = (
                BlockProof(lied, proof.receipts) if target == "header" else BlockProof(proof.header, lied["receipts"])
            )
            found = ("block proof",) if forged.problem() else ()
            yield Kind(target, path, NODE, "altered", Level.EVENTS if found else Level.NONE, found, NOT_HASHED)
    yield Kind.of("header", "", NODE, "another block", [_other_block(index, proof)], Level.EVENTS)


def _other_word(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("0x"):
        return value[:-1] + ("1" if value[-1] != "1" else "2")
    return value[:-1] if isinstance(value, list) else not value


def _other_block(index: Index, proof: BlockProof) -> Check:
    """A whole other block, true in itself: its hash is not the one that everybody knows."""
    known = index.blocks([int(proof.header["number"], 16)])
    other = "0x" + "12" * 32
    return Subject(0).equal("block hash", other, next(iter(known.values())).hash)


class _LyingView:
    """Answers of the contracts with one value altered."""

    def __init__(self, view: ChainView) -> None:
        self._view = view
        self.asked: list[tuple[Question, Any]] = []
        self.lie: tuple[int, str] | None = None

    def ask(self, questions: Sequence[Question]) -> list[Any]:
        answers = copy.deepcopy(self._view.ask(questions))
        for place, question in enumerate(questions):
            number = len(self.asked)
            self.asked.append((question, answers[place]))
            if self.lie and self.lie[0] == number:
                wrapped = {"answer": answers[place]}
                change_at(wrapped, self.lie[1])
                answers[place] = wrapped["answer"]
        return answers


WHY_STATE = "not compared: it follows from events, which the blocks prove"


def state_kinds(world: RoleWorld, index: Index) -> Iterator[Kind]:
    """Each value of each answer about task, rounds, escrow and stakes."""
    audit = Audit(index, None, world.rpc, AuditOptions(replays=0))
    task = audit.task_case(world.task)
    rounds = [load_round(index, task.facts, number) for number in task.facts.rounds]
    kept: dict[str, Any] = {}

    def checks(lie: tuple[int, str] | None) -> tuple[list[Check], list[tuple[Question, Any]]]:
        view = _LyingView(_Remembered(RpcView(world.rpc, index.deployment, index.head().number), kept))
        view.lie = lie
        made = [
            *check_escrow(task, view),
            *check_task_state(task, view),
            *check_round_state(task, view, rounds),
            *check_stakes(index, view, Subject(0)),
        ]
        return made, view.asked

    _, asked = checks(None)
    seen: set[str] = set()
    for number, (question, answer) in enumerate(asked):
        for path in plain_paths({"answer": answer}):
            name = f"{question.function} {path.removeprefix('answer').removeprefix('.')}".strip()
            if name not in seen:
                seen.add(name)
                made, _ = checks((number, path))
                yield Kind.of(f"state {question.function}", path, NODE, "altered", made, Level.EVENTS, WHY_STATE)


class _Remembered:
    """A view that asks the node each question once."""

    def __init__(self, view: ChainView, kept: dict[str, Any]) -> None:
        self._view, self._kept = view, kept

    def ask(self, questions: Sequence[Question]) -> list[Any]:
        missing = [question for question in questions if repr(question) not in self._kept]
        if missing:
            self._kept |= dict(zip(map(repr, missing), self._view.ask(missing), strict=True))
        return [self._kept[repr(question)] for question in questions]
