"""Lies of whoever makes a bundle: in every member of the file, audited offline or against an honest endpoint."""

from __future__ import annotations

import copy
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from deltaproof.auditor.audit.case import AuditOptions
from deltaproof.auditor.auditing import AuditSource, run_audit
from deltaproof.auditor.bundle import Bundle, BundleError, export_round
from deltaproof.auditor.facts.tasks import UnknownSubject
from deltaproof.auditor.index.reader import Index
from deltaproof.store.backend import LocalBackend
from tests.auditor.tampering.fields import change_at, changed, plain_paths
from tests.auditor.tampering.kinds import Cell, Level, Lie, Outcome, failures
from tests.worlds.roles import RoleWorld

__all__ = ["bundle_lies"]

MAKER = "bundle's maker"
WHY = {
    "bundle about deployment.first_block": "never read: a bundle says nothing of all blocks",
    "bundle calldata from": "never read: who acted is in the event",
    "bundle calldata blockNumber": "never read: the event says in which block it is",
    "bundle artifact proposals": "the audit says who signed what is not there, and composes the settlement itself",
    "bundle artifact signed": "what a verifier lists proves nothing: its signatures do",
}
OTHER_NETWORK = {"public_key": ["1", "2", "1", "2"], "genesis": 1, "period": 3, "lead_seconds": 1, "chain_hash": "00"}


def bundle_lies(world: RoleWorld, index: Index, folder: Path) -> Iterator[Lie]:
    """Each field of what describes the bundle, each block by what it holds, calldata, and each kind of artifact."""
    forger = _Forger(world, index, folder)
    for path in plain_paths(forger.members["bundle.json"]):
        yield Lie(Cell("bundle about", path, MAKER, "altered"), partial(forger.about, path))
    for name in forger.events():
        yield Lie(Cell("bundle block", f"with {name}", MAKER, "left out"), partial(forger.without_block, name))
    for path in ("number", "timestamp", "receiptsRoot", "hash"):
        yield Lie(Cell("bundle block", f"header.{path}", MAKER, "altered"), partial(forger.header, path))
    for path in ("data", "topics", "address"):
        yield Lie(Cell("bundle block", f"receipts[].logs[].{path}", MAKER, "altered"), partial(forger.log, path))
    yield Lie(Cell("bundle block", "receipts[]", MAKER, "left out"), forger.without_receipt)
    for path in ("hash", "to", "input", "from", "blockNumber"):
        yield Lie(Cell("bundle calldata", path, MAKER, "altered"), partial(forger.calldata, path))
    yield Lie(Cell("bundle calldata", "", MAKER, "left out"), forger.without_calldata)
    for kind in sorted({name.split("/")[1] for name in forger.members if name.startswith("store/")}):
        for how in ("left out", "altered"):
            yield Lie(Cell("bundle artifact", kind, MAKER, how), partial(forger.artifact, kind, how))


@dataclass
class _Forger:
    world: RoleWorld
    index: Index
    folder: Path

    def __post_init__(self) -> None:
        self._path = self.folder / "honest.zip"
        store = LocalBackend(self.world.store_folder)
        export_round(self.index, store, self.world.rpc, self.world.task, 1, self._path)
        with zipfile.ZipFile(self._path) as archive:
            self.members: dict[str, Any] = {name: archive.read(name) for name in archive.namelist()}
        for name in ("bundle.json", "blocks.json", "transactions.json"):
            self.members[name] = json.loads(self.members[name])

    def events(self) -> list[str]:
        """Names of the round's events, each once, in the order of the chain."""
        return list(dict.fromkeys(e.name for e in self.index.events(task=self.world.task, round_=1)))

    def about(self, path: str) -> Outcome:
        members = copy.deepcopy(self.members)
        if path == "deployment.drand":
            members["bundle.json"]["deployment"]["drand"] = OTHER_NETWORK
        else:
            change_at(members["bundle.json"], path)
        return self._outcome(members, "bundle about", path)

    def without_block(self, event: str) -> Outcome:
        members = copy.deepcopy(self.members)
        number = self.index.events(task=self.world.task, round_=1, names=[event])[0].block
        members["blocks.json"] = [b for b in members["blocks.json"] if int(b["header"]["number"], 16) != number]
        return self._outcome(members, "bundle block", "", witness=True)

    def header(self, path: str) -> Outcome:
        members = copy.deepcopy(self.members)
        block = self._block_of(members, "AttestationCommitted")
        value = block["header"][path]
        block["header"][path] = hex(int(value, 16) + 1) if path in ("number", "timestamp") else changed(value)
        return self._outcome(members, "bundle block", path)

    def log(self, path: str) -> Outcome:
        members = copy.deepcopy(self.members)
        log = self._receipt_of(members, "AttestationCommitted")["logs"][0]
        log[path] = changed(log[path]) if path != "topics" else [*log[path][:-1], changed(log[path][-1])]
        return self._outcome(members, "bundle block", path)

    def without_receipt(self) -> Outcome:
        members = copy.deepcopy(self.members)
        self._block_of(members, "AttestationCommitted")["receipts"].pop()
        return self._outcome(members, "bundle block", "receipts[]")

    def calldata(self, path: str) -> Outcome:
        members = copy.deepcopy(self.members)
        revealed = self.index.events(task=self.world.task, round_=1, names=["Revealed"])[0].transaction
        told = next(t for t in members["transactions.json"] if t["hash"] == revealed)
        told[path] = hex(int(told[path], 16) + 1) if path == "blockNumber" else changed(told[path])
        return self._outcome(members, "bundle calldata", path)

    def without_calldata(self) -> Outcome:
        members = copy.deepcopy(self.members)
        members["transactions.json"] = members["transactions.json"][1:]
        return self._outcome(members, "bundle calldata", "")

    def artifact(self, kind: str, how: str) -> Outcome:
        members = copy.deepcopy(self.members)
        for name in [name for name in members if name.startswith(f"store/{kind}/")]:
            if how == "left out":
                del members[name]
            else:
                members[name] = changed(members[name])
        return self._outcome(members, "bundle artifact", kind)

    def _block_of(self, members: dict[str, Any], event: str) -> Any:
        number = self.index.events(task=self.world.task, round_=1, names=[event])[0].block
        return next(block for block in members["blocks.json"] if int(block["header"]["number"], 16) == number)

    def _receipt_of(self, members: dict[str, Any], event: str) -> Any:
        mine = self.index.events(task=self.world.task, round_=1, names=[event])[0].transaction
        return next(r for r in self._block_of(members, event)["receipts"] if r["transactionHash"] == mine)

    def _outcome(self, members: dict[str, Any], target: str, path: str, *, witness: bool = False) -> Outcome:
        """Offline first; with an honest endpoint beside it if nothing fails."""
        place = self.folder / "forged.zip"
        with zipfile.ZipFile(place, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content if isinstance(content, bytes) else json.dumps(content))
        try:
            if found := failures(self._audit(place, None)):
                return Outcome(Level.EVENTS, found)
            found = failures(self._audit(place, self.world))
        except (BundleError, UnknownSubject) as refused:
            return Outcome(Level.EVENTS, ("bundle",), f"refused: {type(refused).__name__}")
        why = next((text for start, text in WHY.items() if f"{target} {path}".strip().startswith(start)), "")
        return Outcome.named(found, Level.WITNESS, why)

    @staticmethod
    def _audit(place: Path, endpoint: RoleWorld | None) -> Any:
        source = AuditSource.of_bundle(Bundle(place), endpoint.rpc if endpoint else None)
        return run_audit(source, AuditOptions(replays=0, models=False)).checks
