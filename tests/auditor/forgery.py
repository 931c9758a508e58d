"""One lie in an otherwise honest history: in an event, in calldata, in an artifact, or in what a node answers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import delete, insert, select, update

from deltaproof.auditor.audit.case import AuditOptions
from deltaproof.auditor.audit.check import Check, Status
from deltaproof.auditor.auditing import AuditSource, run_audit
from deltaproof.auditor.index import schema
from deltaproof.auditor.index.events import event_type
from deltaproof.auditor.index.reader import Index
from deltaproof.auditor.index.rpc import Call, Rpc
from deltaproof.auditor.index.schema import open_database
from deltaproof.errors import ArtifactMissing, ArtifactTooLarge
from deltaproof.protocol.outcome.attestation import Attestation
from deltaproof.protocol.wire.encoding import sha256
from deltaproof.store import ArtifactStore
from deltaproof.store.backend import LocalBackend
from tests.worlds.roles import RoleWorld

Answer = Callable[[str, list[Any], Any], Any]


class LyingRpc(Rpc):
    """A node whose answers pass through `lie` (method, parameters, true answer)."""

    def __init__(self, url: str, lie: Answer) -> None:
        super().__init__(url)
        self._lie = lie

    def batch(self, calls: Sequence[Call]) -> list[Any]:
        return [self._lie(m, p, answer) for (m, p), answer in zip(calls, super().batch(calls), strict=True)]


class Overlay(LocalBackend):
    """A store that serves other bytes, or nothing (None), for some paths, and tells other times, or none."""

    def __init__(
        self, root: Path, changed: dict[str, bytes | None], times: dict[str, float | None] | None = None
    ) -> None:
        super().__init__(root)
        self.changed = changed
        self.times = times or {}

    def published(self, path: str) -> float | None:
        return self.times[path] if path in self.times else super().published(path)

    def read(self, path: str, max_bytes: int) -> bytes:
        if path in self.changed:
            data = self.changed[path]
            if data is None:
                raise ArtifactMissing(path, "not in the store")
            if len(data) > max_bytes:
                raise ArtifactTooLarge(path, f"more than the {max_bytes} bytes it may have")
            return data
        return super().read(path, max_bytes)


class Forgery:
    """A copy of the honest history to be falsified in one place, and its audit."""

    def __init__(self, world: RoleWorld, database: Path, folder: Path) -> None:
        self.world = world
        copy = folder / "forged.sqlite"
        shutil.copy(database, copy)
        self.engine = open_database(str(copy))
        self.changed: dict[str, bytes | None] = {}
        self.times: dict[str, float | None] = {}
        self.rpc: Rpc = world.rpc

    # Events.

    def row(self, name: str, round_: int | None = 1, nth: int = 0) -> Any:
        query = select(schema.events).where(schema.events.c.name == name)
        if round_ is not None:
            query = query.where(schema.events.c.round == round_)
        with self.engine.connect() as db:
            return db.execute(query.order_by(schema.events.c.block, schema.events.c.log_index)).all()[nth]

    def args(self, name: str, round_: int | None = 1, nth: int = 0) -> dict[str, Any]:
        return json.loads(self.row(name, round_, nth).arguments)  # type: ignore[no-any-return]

    def edit(self, name: str, path: str, value: Any, round_: int | None = 1, nth: int = 0) -> None:
        """Set an argument (dotted path) to a value, or to what a function makes of it."""
        row = self.row(name, round_, nth)
        args = json.loads(row.arguments)
        *above, last = path.split(".")
        place = args
        for key in above:
            place = place[key]
        place[last] = value(place[last]) if callable(value) else value
        with self.engine.begin() as db:
            db.execute(
                update(schema.events).where(_at(row)).values(arguments=json.dumps(args), round=args.get("round"))
            )

    def rewrite(self, position: tuple[int, int], args: Mapping[str, Any]) -> None:
        """Other arguments, as an event has them in memory, for the event at a place on the chain."""
        table = schema.events
        at = (table.c.block == position[0]) & (table.c.log_index == position[1])
        with self.engine.begin() as db:
            row = db.execute(select(table).where(at)).one()
            text = event_type(row.contract, row.name).dump(args)
            db.execute(update(table).where(at).values(arguments=text))

    def drop(self, name: str, round_: int | None = 1, nth: int = 0) -> None:
        with self.engine.begin() as db:
            db.execute(delete(schema.events).where(_at(self.row(name, round_, nth))))

    def double(self, name: str, round_: int | None = 1, nth: int = 0) -> None:
        self.invent(name, self.row(name, round_, nth), lambda args: args)

    def invent(
        self, name: str, like: Any, change: Callable[[dict[str, Any]], dict[str, Any]], contract: str = ""
    ) -> None:
        """One more event after another one, in the same transaction; of another contract, if that is named."""
        values = {**like._mapping, "log_index": like.log_index + 1000, "name": name}
        values["contract"] = contract or like.contract
        values["arguments"] = json.dumps(change(json.loads(like.arguments)))
        with self.engine.begin() as db:
            db.execute(insert(schema.events).values(**values))

    def calldata(self, name: str, change: Callable[[bytes], bytes], round_: int | None = 1, nth: int = 0) -> None:
        """Alter the input of the transaction behind an event."""
        table, transaction = schema.transactions, self.row(name, round_, nth).transaction
        with self.engine.begin() as db:
            data = db.execute(select(table.c.input).where(table.c.hash == transaction)).scalar_one()
            altered = "0x" + change(bytes.fromhex(data[2:])).hex()
            db.execute(update(table).where(table.c.hash == transaction).values(input=altered))

    def seed_block(self, request: int) -> None:
        """Another hash of the block that decided a seed."""
        with self.engine.begin() as db:
            db.execute(
                update(schema.seeds).where(schema.seeds.c.request == request).values(target_hash="0x" + "11" * 32)
            )

    # Artifacts.

    def path_of(self, prefix: str, nth: int = 0) -> str:
        root = self.world.store_folder
        return str(sorted(p for p in (root / prefix).rglob("*") if p.is_file())[nth].relative_to(root))

    def artifact(self, path: str, change: Callable[[bytes], bytes] | None) -> None:
        data = (self.world.store_folder / path).read_bytes()
        self.changed[path] = change(data) if change else None

    def attestation(self, change: Callable[[dict[str, Any]], None], round_: int = 1) -> None:
        """A verifier's document with other content, published and named on chain under its own digest."""
        digest = self.args("AttestationRevealed", round_)["artifact_digest"]
        data = (self.world.store_folder / "attestations" / digest[2:]).read_bytes()
        document = Attestation.from_document(data).to_json_value()
        change(document)
        altered = Attestation.model_validate_json(json.dumps(document)).to_document()
        self.changed[f"attestations/{sha256(altered).hex()}"] = altered
        self.edit("AttestationRevealed", "artifact_digest", "0x" + sha256(altered).hex(), round_)

    # The audit.

    def lie(self, answer: Answer) -> None:
        self.rpc = LyingRpc(self.world.node.rpc_url, answer)

    def audit(self, *, offline: bool = False, **options: Any) -> list[Check]:
        """Everything that failed. `offline` leaves the blocks out, so that the meaning of events shows the lie."""
        return [check for check in self.checks(offline=offline, **options) if check.status is Status.FAIL]

    def checks(self, *, offline: bool = False, **options: Any) -> list[Check]:
        """Every check of the audit, as it came out."""
        store = ArtifactStore(Overlay(self.world.store_folder, self.changed, self.times))
        source = AuditSource(Index(self.engine), store, None if offline else self.rpc)
        report = run_audit(source, AuditOptions(**{"replays": 0, **options}))
        self.engine.dispose()
        return list(report.checks)


def flip(data: bytes, position: int = -1) -> bytes:
    """One bit the other way."""
    changed = bytearray(data)
    changed[position] ^= 1
    return bytes(changed)


def other_digest(value: str) -> str:
    return "0x" + flip(bytes.fromhex(value[2:])).hex()


def one_more(value: int) -> int:
    return value + 1


def _at(row: Any) -> Any:
    return (schema.events.c.block == row.block) & (schema.events.c.log_index == row.log_index)
