"""One round as one file: chain facts with their proofs and every artifact, to be audited offline.

A bundle is a zip file: `bundle.json` (which round of which deployment), `blocks.json` (headers and receipts),
`transactions.json` (calldata that opens what events leave out), and `store/` with the artifacts under their paths.
Nothing in it is believed. Events, their order and their times are read from receipts and headers, whose hashes prove
them, and not from what an index says. An audit checks artifacts against digests and digests against events.

What a file alone cannot show is that its blocks are the chain's and all of them; any endpoint can (`--witness`).
"""

from __future__ import annotations

import itertools
import json
import zipfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, insert
from sqlalchemy.exc import SQLAlchemyError

from deltaproof.auditor.facts.loading import TASK_EVENTS, load_round, load_task
from deltaproof.auditor.facts.receipts import fetch_proofs
from deltaproof.auditor.facts.tasks import RoundFacts
from deltaproof.auditor.index import schema
from deltaproof.auditor.index.events import Event
from deltaproof.auditor.index.follower import IndexedDeployment
from deltaproof.auditor.index.reader import Index
from deltaproof.auditor.index.rows import IndexRowReader, read_headers
from deltaproof.auditor.index.rpc import Call, Rpc
from deltaproof.auditor.index.schema import open_database
from deltaproof.errors import ArtifactMissing, ArtifactTooLarge, ChainError, DeltaproofError, StoreUnavailable
from deltaproof.protocol.commit.sealing import ReadingKey
from deltaproof.protocol.rules import MAX_GIVERS, MAX_SEALED_COPIES, MAX_SIGNED
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Digest32, StepIndex
from deltaproof.protocol.wire.encoding import parse_json
from deltaproof.store import ArtifactStore
from deltaproof.store.backend import Backend
from deltaproof.store.paths import (
    Kind,
    addressed_path,
    admission_path,
    envelope_path,
    key_path,
    opening_path,
    sealed_path,
    signed_path,
)

__all__ = ["Bundle", "BundleError", "BundleNode", "export_round"]

FORMAT = "deltaproof-bundle/2"
ANSWERS = ("SeedRearmed", "SeedFixed", "OpeningAnswered", "ScoreAnswered", "LeafAnswered", "DemandUnanswered")
"""Events that name neither task nor round, only what they answer."""
MAX_JSON_BYTES = 512 * 1024 * 1024
FREE_VALUES = 2**16
VALUE_BYTES = 16
"""One value for so many bytes of JSON may be in a bundle, and a few more: those of a node are 20 to 500 bytes long."""
MAX_ARTIFACT_BYTES = 8 * 1024 * 1024 * 1024

BROKEN = (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What reading a member of a zip file may raise: one that is damaged, encrypted, or packed in an unknown way."""
UNREADABLE = (*BROKEN, KeyError, TypeError, ValueError, OverflowError, AttributeError, SQLAlchemyError)
"""What reading a file of somebody else's making may raise."""


class BundleError(DeltaproofError):
    """A bundle is unreadable, or is none."""


def export_round(index: Index, backend: Backend, rpc: Rpc, task: int, round_: int, path: Path) -> int:
    """Write the bundle of a round; returns the number of artifacts in it.

    Raises UnknownSubject for a round that is not there, ArtifactError for an artifact that is missing, ChainError if
    the endpoint does not serve receipts.
    """
    facts = load_task(index, task)
    rounds = load_round(index, facts, round_)
    blocks = sorted(_blocks(index, facts.id, rounds))
    proofs = fetch_proofs(rpc, blocks)
    deciding = read_headers(rpc, sorted(index.deciding_blocks(blocks) - set(blocks)))
    proved = [{"header": proof.header, "receipts": proof.receipts} for proof in proofs]
    head = index.head()
    described = {
        "format": FORMAT,
        "task": task,
        "round": round_,
        "block": head.number,
        "blockHash": head.hash,
        "deployment": json.loads(index.deployment.to_text()),
    }
    partial = path.with_name(path.name + ".partial")
    written = 0
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bundle.json", json.dumps(described))
        archive.writestr("blocks.json", json.dumps([*proved, *({"header": h, "receipts": None} for h in deciding)]))
        archive.writestr("transactions.json", json.dumps(index.calldata(blocks)))
        for artifact in _artifacts(index, backend, rounds):
            archive.writestr(f"store/{artifact}", backend.read(artifact, MAX_ARTIFACT_BYTES))
            written += 1
    partial.replace(path)
    return written


class Bundle:
    """An opened bundle: an index, a store, and a node that knows only its blocks. Untrusted in every part."""

    def __init__(self, path: Path) -> None:
        """Raises BundleError."""
        try:
            self._archive = zipfile.ZipFile(path)
            self.about = self._json("bundle.json")
            if self.about.get("format") != FORMAT:
                raise BundleError(f"{path} is no bundle of a format that is known here")
            self.task, self.round = int(self.about["task"]), int(self.about["round"])
            self.node = BundleNode(self._json("blocks.json"), self._json("transactions.json"))
            self.index = Index(_database(self.node, self.about))
        except BundleError:
            raise
        except (*UNREADABLE, DeltaproofError) as error:
            raise BundleError(f"{path} cannot be read as a bundle: {error}") from error
        self.store = ArtifactStore(_Members(self._archive))

    def _json(self, name: str) -> Any:
        """Attack: pack half a gigabyte of `[0],[0],[0]` into a file of half a megabyte, and have it audited."""
        size = self._archive.getinfo(name).file_size
        if size > MAX_JSON_BYTES:
            raise BundleError(f"{name} exceeds {MAX_JSON_BYTES} bytes")
        most = FREE_VALUES + size // VALUE_BYTES
        return parse_json(self._archive.read(name), max_bytes=MAX_JSON_BYTES, canonical=False, most_values=most)


class BundleNode(Rpc):
    """Answers from the blocks and transactions of a bundle. Raises KeyError, TypeError or ValueError for no blocks."""

    def __init__(self, blocks: Sequence[dict[str, Any]], transactions: Sequence[dict[str, Any]]) -> None:
        self.url = "the bundle"
        self._blocks = {int(block["header"]["number"], 16): block for block in blocks}
        self._transactions = {str(transaction["hash"]): transaction for transaction in transactions}

    def batch(self, calls: Sequence[Call]) -> list[Any]:
        """See `Rpc`."""
        return [self._answer(method, params) for method, params in calls]

    def _answer(self, method: str, params: list[Any]) -> Any:
        if method == "eth_getTransactionByHash":
            return self._transactions.get(params[0])
        if method not in ("eth_getBlockByNumber", "eth_getBlockReceipts"):
            raise ChainError(f"{method} cannot be answered offline")
        block = self._blocks.get(int(params[0], 16), {"header": None, "receipts": None})
        return block["header" if method == "eth_getBlockByNumber" else "receipts"]

    def logs(self, contracts: Collection[str]) -> list[dict[str, Any]]:
        """Every log of these contracts, numbered by its place among the receipts and under its header's hash.

        What a receipt says of itself besides (block, index, time) is under no hash, and is not read.
        """
        wanted, found = {contract.lower() for contract in contracts}, []
        for number, block in sorted(self._blocks.items()):
            sent = ((receipt["transactionHash"], log) for receipt in block["receipts"] or () for log in receipt["logs"])
            for position, (transaction, log) in enumerate(sent):
                if log["address"].lower() in wanted:
                    place = {
                        "blockNumber": hex(number),
                        "blockHash": block["header"]["hash"],
                        "logIndex": hex(position),
                    }
                    said = {name: log[name] for name in ("address", "topics", "data")}
                    found.append({**said, **place, "transactionHash": transaction})
        return found


class _Members(Backend):
    """Artifacts in a zip file."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def read(self, path: str, max_bytes: int) -> bytes:
        try:
            with self._archive.open(f"store/{path}") as file:
                data = file.read(max_bytes + 1)
        except KeyError as error:
            raise ArtifactMissing(path, "not in the bundle") from error
        except BROKEN as error:
            raise StoreUnavailable(path, f"cannot be read from the bundle: {error}") from error
        if len(data) > max_bytes:
            raise ArtifactTooLarge(path, f"more than the {max_bytes} bytes it may have")
        return data

    def write(self, path: str, data: bytes) -> None:
        raise StoreUnavailable(path, "a bundle is read-only")

    def exists(self, path: str) -> bool:
        return f"store/{path}" in self._archive.namelist()

    def published(self, path: str) -> float | None:
        return None  # whoever made the bundle could write any time


# What belongs into a bundle.


def _blocks(index: Index, task: int, facts: RoundFacts) -> set[int]:
    """Blocks of the round, of what concerns the whole task, and of its verifiers' keys."""
    events: list[Event] = [*facts.events, *index.events(task=task, names=TASK_EVENTS)]
    quorum = facts.task.quorum_of(facts.number)
    events += [facts.task.keys[verifier] for verifier in quorum if verifier in facts.task.keys]
    blocks = {event.block for event in events}
    asked = index.events(names=("SeedRequested", "DemandOpened"), blocks=blocks)
    requests, rounds = {_request(event) for event in asked}, {event.args.get("target") for event in asked}
    answers = [event for event in index.events(names=ANSWERS) if _request(event) in requests]
    answers += [e for e in index.events(names=("SignaturePublished",)) if e.args["drand_round"] in rounds]
    return blocks | {event.block for event in answers}


def _request(event: Event) -> tuple[str, int]:
    return event.contract, event.args["id" if event.contract == "beacon" else "demand_id"]


def _database(node: BundleNode, about: dict[str, Any]) -> Engine:
    deployment = IndexedDeployment.from_text(json.dumps(about["deployment"]))
    engine = open_database("sqlite://")
    reader = IndexRowReader(node, deployment.contracts, by_rounds=deployment.drand is not None)
    rows = reader.rows(node.logs(deployment.contracts.values()))
    with engine.begin() as db:
        db.execute(insert(schema.deployment).values(key="deployment", value=deployment.to_text()))
        rows.insert(db)
        db.execute(insert(schema.checkpoints).values(number=about["block"], hash=about["blockHash"]))
    return engine


def _artifacts(index: Index, backend: Backend, facts: RoundFacts) -> Iterator[str]:
    """Path of every artifact that an audit of the round reads, as far as it is there."""
    yield f"blob/{facts.task.params.spec_hash.hex()}"
    digests = {facts.start_digest, facts.task.params.start_digest}
    if facts.standing is not None:
        digests.add(facts.standing.settlement.next_start_digest)
    digests |= {reveal.delta_digest for reveal in facts.reveals.values()}
    wanted = [f"tensors/{digest.hex()}" for digest in sorted(digests)]
    wanted += [f"attestations/{a.artifact.hex()}" for a in facts.attestations.values() if a.revealed is not None]
    wanted += _signed(backend, facts)
    if facts.scored:
        wanted.append(f"validation/{facts.task.validation_commitments[facts.number - 1].hex()}")
    for trainer, reveal in facts.reveals.items():
        steps = map(StepIndex, range(facts.task.params.training.steps))
        wanted += [opening_path(reveal.transcript_root, trainer, step) for step in steps]
    wanted += _of_readers(index, backend, facts, digests)
    yield from (path for path in wanted if backend.exists(path))


def _signed(backend: Backend, facts: RoundFacts) -> Iterator[str]:
    """Settlements that were posted or that verifiers list as signed, and these lists."""
    digests, store = {posted.digest for posted in facts.settlements}, ArtifactStore(backend)
    for verifier in facts.task.quorum_of(facts.number):
        digests.update(store.signed_by(facts.task.id, facts.number, verifier))
        lists = (signed_path(facts.task.id, facts.number, verifier, number) for number in range(MAX_SIGNED))
        yield from itertools.takewhile(backend.exists, lists)
    yield from (addressed_path(Kind.PROPOSAL, digest) for digest in sorted(digests))


def _of_readers(index: Index, backend: Backend, facts: RoundFacts, weights: Collection[Digest32]) -> Iterator[str]:
    """Where openings are sealed: reading keys of the round's verifiers, and envelopes for them and for the auditors;
    where adapters are, these, and who was admitted to them."""
    store = ArtifactStore(backend)
    try:
        spec = store.get_document(TaskSpec, facts.task.params.spec_hash)
    except ArtifactMissing:
        return
    data = spec.data
    if not data.sealed:
        return
    keys = list(data.auditors)
    for verifier in facts.task.quorum_of(facts.number):
        records = store.get_keys(index.deployment.permit_domain, verifier)
        yield from (key_path(verifier, record.epoch) for record in records)
        keys += [record.key for record in records]
    for trainer, reveal in facts.reveals.items():
        yield from (envelope_path(reveal.transcript_root, trainer, key) for key in keys)
    if spec.adapter.sealed is None:
        return
    for digest in sorted(weights):
        copies = (sealed_path(digest, copy) for copy in range(MAX_SEALED_COPIES))
        yield from itertools.takewhile(backend.exists, copies)
    for key in (*keys, ReadingKey.everybodys().public):
        givers = facts.task.participants[:MAX_GIVERS]
        yield from (admission_path(spec.adapter.sealed, key, giver) for giver in givers)
