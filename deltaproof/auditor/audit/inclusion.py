"""The index against the blocks themselves: no event missing, none too many, none altered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deltaproof.auditor.audit.check import Check, Subject
from deltaproof.auditor.facts.receipts import BlockProof, fetch_proofs, header_problem, may_log
from deltaproof.auditor.index.events import Event, event_type, event_types
from deltaproof.auditor.index.follower import deployment_at
from deltaproof.auditor.index.reader import Index, IndexedBlock
from deltaproof.auditor.index.rows import IndexRowReader
from deltaproof.auditor.index.rpc import Rpc
from deltaproof.errors import ChainError, DeploymentError
from deltaproof.reporting import counted

__all__ = ["check_bundle", "check_headers", "check_inclusion", "check_witness"]

MAX_HEADERS = 50_000
HEADERS_AT_ONCE = 200
LOGS_AT_ONCE = 5_000


def check_inclusion(index: Index, rpc: Rpc | None, events: Sequence[Event], subject: Subject) -> Iterator[Check]:
    """Every block that holds one of these events, proved by its header and receipts."""
    if rpc is None:
        yield subject.unchecked("events in block", "no RPC endpoint to ask")
        return
    numbers = sorted({event.block for event in events})
    try:
        proofs = fetch_proofs(rpc, numbers)
    except ChainError as error:
        yield subject.unchecked("events in block", f"the endpoint serves no receipts of whole blocks: {error}")
        return
    known = index.blocks(numbers)
    indexed: dict[int, list[Event]] = {number: [] for number in numbers}
    for event in index.events(blocks=numbers):
        indexed[event.block].append(event)
    for number, proof in zip(numbers, proofs, strict=True):
        told = known.get(number, IndexedBlock(number, "unknown", 0))
        yield from _compare(index, proof, told, indexed[number], subject)


def check_headers(index: Index, rpc: Rpc | None, subject: Subject, *, all_blocks: bool = False) -> Iterator[Check]:
    """All blocks from the deployment to the head: one chain by parent hashes, and none with events that we skipped."""
    if rpc is None:
        yield subject.unchecked("chain of blocks", "no RPC endpoint to ask")
        return
    first, head = index.deployment.first_block, index.head()
    if head.number - first > MAX_HEADERS and not all_blocks:
        reason = f"{head.number - first} blocks: walk them with --full"
        yield subject.unchecked("chain of blocks", reason)
        return
    known = index.block_numbers()
    contracts = list(index.deployment.contracts.values())
    parent: str | None = None
    for start in range(first, head.number + 1, HEADERS_AT_ONCE):
        numbers = range(start, min(start + HEADERS_AT_ONCE, head.number + 1))
        headers = rpc.batch([("eth_getBlockByNumber", [hex(number), False]) for number in numbers])
        for number, header in zip(numbers, headers, strict=True):
            if problem := header_problem(header, number):
                yield subject.failed("block proof", problem)
                return
            if parent is not None and header["parentHash"] != parent:
                yield subject.equal("chain of blocks", parent, header["parentHash"], f"parent of block {number}")
            parent = header["hash"]
            if number not in known and any(may_log(header["logsBloom"], contract) for contract in contracts):
                told = IndexedBlock(number, parent, int(header["timestamp"], 16))
                yield from _compare(index, fetch_proofs(rpc, [number])[0], told, [], subject)
    yield subject.equal("chain of blocks", parent, head.hash, f"blocks {first} to {head.number}")


def _compare(
    index: Index, proof: BlockProof, told: IndexedBlock, events: Sequence[Event], subject: Subject
) -> Iterator[Check]:
    """One block: its hash, time and receipts, and the events that the index has of it."""
    number = told.number
    if told.hash != proof.claimed_hash:
        yield subject.equal("block hash", proof.claimed_hash, told.hash, f"block {number}")
        return
    if problem := proof.problem():
        yield subject.failed("block proof", f"block {number}: {problem}")
        return
    # Times decide who was late and numbers who was first, so neither is the index's word.
    header = (int(proof.header["number"], 16), int(proof.header["timestamp"], 16))
    if header != (number, told.timestamp):
        yield subject.equal("block time", header, (number, told.timestamp), "number and time of a block")
    names = {account.lower(): name for name, account in index.deployment.contracts.items()}
    proved = {}
    for position, account, topics, data in proof.logs_of(frozenset(names)):
        kind = event_types().get((names[account], bytes.fromhex(topics[0][2:]))) if topics else None
        if kind is not None:
            args = kind.decode([bytes.fromhex(topic[2:]) for topic in topics], bytes.fromhex(data[2:]))
            proved[position] = (kind.contract, kind.name, kind.dump(args))
    indexed = {event.log_index: event for event in events}
    problems = list(_differences(proved, indexed))
    for event, reason in problems:
        about = subject.of(event) if event else subject
        yield about.failed("events in block", f"block {number}: {reason}")
    if not problems:
        yield subject.passed("events in block", f"block {number}: {counted(len(proved), 'event')}")


def _differences(
    proved: dict[int, tuple[str, str, str]], indexed: dict[int, Event]
) -> Iterator[tuple[Event | None, str]]:
    for position, (contract, name, text) in proved.items():
        event = indexed.get(position)
        if event is None:
            yield None, f"the index lacks {name} of {contract} at log {position}"
        elif (event.contract, event.name) != (contract, name):
            yield event, f"log {position} is {name} of {contract}, the index has {event.name} of {event.contract}"
        elif _text(event) != text:
            yield event, f"{name} at log {position} says {text}, the index has {_text(event)}"
    for position, event in indexed.items():
        if position not in proved:
            yield event, f"the index has {event.name} at log {position}, which is not in the block"


def _text(event: Event) -> str:
    return event_type(event.contract, event.name).dump(event.args)


def check_witness(index: Index, witness: Rpc, subject: Subject, *, every_block: bool = False) -> Iterator[Check]:
    """A second endpoint knows the last block that was indexed by the same hash, and so all blocks before it.

    With `every_block` (a bundle, whose blocks nothing joins) it has to know each of them.
    """
    head = index.head()
    known = [head, *index.blocks(index.block_numbers()).values()] if every_block else [head]
    try:
        blocks = witness.batch([("eth_getBlockByNumber", [hex(block.number), False]) for block in known])
    except ChainError as error:
        yield subject.unchecked("second endpoint", str(error))
        return
    for mine, theirs in zip(known, blocks, strict=True):
        found = theirs["hash"] if theirs else None
        yield subject.equal("second endpoint", found, mine.hash, f"block {mine.number} at {witness.shown}")


def check_bundle(index: Index, witness: Rpc, task: int, round_: int) -> Iterator[Check]:
    """A second endpoint knows a bundle's deployment, its calldata, and no event of the round that it leaves out."""
    subject, told = Subject(task, round_), index.deployment
    try:
        known = deployment_at(witness, told.contracts["tasks"], told.first_block)
        yield subject.equal("deployment", known.to_text(), told.to_text())
        if known != told:
            return
        yield from _calldata(index, witness, subject)
        left_out = _left_out(index, witness, task, round_)
    except DeploymentError as error:
        yield subject.failed("deployment", str(error))
        return
    except ChainError as error:
        yield subject.unchecked("whole round", str(error))
        return
    names = ", ".join(f"block {number} with {name}" for number, name in sorted(left_out.items()))
    yield subject.that("whole round", not left_out, f"the bundle leaves out {names}")


def _calldata(index: Index, witness: Rpc, subject: Subject) -> Iterator[Check]:
    """What was called, and with what, is under no hash of a bundle."""
    for told in index.calldata(index.block_numbers()):
        known = witness.call("eth_getTransactionByHash", told["hash"]) or {}
        expected = (str(known.get("to") or "").lower(), known.get("input"))
        about = subject.of(transaction=told["hash"])
        yield about.equal("calldata", expected, (told["to"].lower(), told["input"]))


def _left_out(index: Index, witness: Rpc, task: int, round_: int) -> dict[int, str]:
    """Blocks with events of the round, up to the bundle's head, that it does not hold, and what is in them."""
    known, contracts, head = index.block_numbers(), index.deployment.contracts, index.head().number
    missing: dict[int, str] = {}
    for start in range(min(known, default=head), head + 1, LOGS_AT_ONCE):
        blocks = {"fromBlock": hex(start), "toBlock": hex(min(start + LOGS_AT_ONCE - 1, head))}
        logs = witness.call("eth_getLogs", {"address": list(contracts.values()), **blocks})
        for row in IndexRowReader(witness, contracts).decoded(logs):
            if (row["task"], row["round"]) == (task, round_) and row["block"] not in known:
                missing.setdefault(row["block"], row["name"])
    return missing
