"""The gateway's HTTP interface (docs/gateway.md): read, write, upload in parts, health, metrics, and its description.

Whatever may block (chain, store, disk) runs in threads, of which each kind has its own few: a slow chain holds up
writes, never reads.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import Depends, FastAPI, Header, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.requests import ClientDisconnect

from deltaproof.errors import DeltaproofError, EncodingError
from deltaproof.gateway.admission import Doorkeeper, Grant
from deltaproof.gateway.bounds import Bounded, tell_errors
from deltaproof.gateway.intake import Intake
from deltaproof.gateway.ledger import Ledger
from deltaproof.gateway.metrics import GatewayMetrics
from deltaproof.gateway.openapi import PROBLEMS, description_of, parameters_of, template_of
from deltaproof.gateway.reading import Answer, Shelves
from deltaproof.gateway.refusals import RequestRefused
from deltaproof.gateway.retention import Retention
from deltaproof.gateway.traffic import FewEach, RequestRate, neighbourhood
from deltaproof.protocol.types import Address, TaskId, digest32
from deltaproof.store.paths import ArtifactName, Kind, parse_path
from deltaproof.store.permits import PART_BYTES, WritePermit
from deltaproof.store.waiting import SLOWEST_BYTES_A_SECOND

__all__ = ["GatewayParts", "create_app"]

T = TypeVar("T")
GRACE_SECONDS = 15.0
"""A body has the grace, and then the time that it takes at `SLOWEST_BYTES_A_SECOND`."""
WRITE_AT_BYTES = 512 * 1024
ADMITTED_AT_ONCE = 4
"""Of one address; half of what is asked of the chain at once."""
LOOK_SECONDS = 10.0
"""How often the background looks at chain, store and what is over."""
STALE_SECONDS = 60.0


@dataclass
class GatewayParts:
    """What the application is made of."""

    doorkeeper: Doorkeeper
    intake: Intake
    shelves: Shelves
    retention: Retention
    ledger: Ledger
    metrics: GatewayMetrics
    reads: RequestRate
    writes: RequestRate
    chain_seen_at: float = 0.0
    store_seen_at: float = 0.0
    problem: str = ""
    on_chain: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(8))
    on_store: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(16))
    on_content: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(2))
    admitted: FewEach = field(default_factory=lambda: FewEach(ADMITTED_AT_ONCE))
    """By address: who has no role yet can sign as anybody."""
    checked: FewEach = field(default_factory=lambda: FewEach(1))
    """By account."""

    @property
    def healthy(self) -> bool:
        """Whether chain and store answered not long ago."""
        return min(self.chain_seen_at, self.store_seen_at) > time.monotonic() - STALE_SECONDS


@dataclass(frozen=True)
class _SignedPermit:
    """The fields of a permit as headers bring them, without the path."""

    task: int
    size: int
    digest: str
    expires: int
    signature: str

    def of(self, path: str) -> tuple[WritePermit, bytes]:
        """The permit for a path, and its signature."""
        permit = WritePermit(TaskId(self.task), path, self.size, digest32(self.digest), self.expires)
        return permit, bytes.fromhex(self.signature[2:])


_Number = Annotated[int, Header(ge=0, le=2**53)]


def _signed_permit(
    deltaproof_task: Annotated[int, Header(ge=1, le=999_999_999, description="Number of the task.")],
    deltaproof_size: Annotated[int, Header(ge=0, le=2**40, description="Bytes of the artifact.")],
    deltaproof_digest: Annotated[str, Header(pattern="^0x[0-9a-f]{64}$", description="SHA-256 of the artifact.")],
    deltaproof_expires: Annotated[int, Header(ge=0, le=2**40, description="Seconds since the epoch.")],
    deltaproof_signature: Annotated[
        str, Header(pattern="^0x[0-9a-f]{130}$", description="EIP-712 signature of the permit: r, s, v.")
    ],
) -> _SignedPermit:
    """What every write is signed with."""
    return _SignedPermit(deltaproof_task, deltaproof_size, deltaproof_digest, deltaproof_expires, deltaproof_signature)


Permit = Annotated[_SignedPermit, Depends(_signed_permit)]


def create_app(parts: GatewayParts, version: str) -> FastAPI:
    """The application of a release; what it does in the background runs while it does."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(_background(parts))
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    app = FastAPI(
        title="deltaproof store gateway", version=version, lifespan=lifespan, docs_url=None, redoc_url=None,
        redirect_slashes=False, responses=PROBLEMS,
    )  # fmt: skip
    tell_errors(app, parts.metrics)
    for kind in Kind:
        _add_artifacts(app, parts, kind)
    _add_uploads(app, parts)
    _add_service(app, parts, version)
    app.add_middleware(Bounded, metrics=parts.metrics, reads=parts.reads, writes=parts.writes)
    return app


def _add_artifacts(app: FastAPI, parts: GatewayParts, kind: Kind) -> None:
    template, documented = f"/{template_of(kind)}", {"parameters": parameters_of(kind)}

    async def read(request: Request) -> Response:
        name = _named(request.scope["path"][1:])
        asked = {key.lower(): value for key, value in request.headers.items()}
        answer = await to_thread.run_sync(parts.shelves.answer, name, asked, limiter=parts.on_store)
        if request.method == "HEAD" or answer.status == 304:
            return Response(status_code=answer.status, headers=answer.headers)
        return StreamingResponse(_sent(parts, answer), answer.status, answer.headers)

    async def write(request: Request, permit: Permit) -> JSONResponse:
        path = _named(request.scope["path"][1:]).path
        if permit.size > PART_BYTES:
            raise RequestRefused(413, "in-parts", f"more than {PART_BYTES} bytes travel in parts: POST /uploads/{path}")
        _expect_length(request, permit.size, permit.size)
        grant = await _admitted(parts, request, path, permit)
        with parts.intake.reserved(grant), parts.intake.new_file() as file:
            await _arrive(parts, request, file, permit.size)
            new = await _checked(parts, grant.account, lambda: parts.intake.accept(grant, file))
        return JSONResponse({"stored": True, "new": new}, status_code=201 if new else 200)

    async def begin(request: Request, permit: Permit) -> JSONResponse:
        path = _named(request.scope["path"][len("/uploads/") :]).path
        _expect_length(request, 0, 0)
        grant = await _admitted(parts, request, path, permit)
        if await to_thread.run_sync(parts.intake.stands, grant, limiter=parts.on_store):
            return JSONResponse({"stored": True, "new": False})
        upload = await to_thread.run_sync(parts.intake.begin, grant, limiter=parts.on_store)
        if upload.complete:
            return await _finished(parts, upload.id)
        told = {"stored": False, "upload": upload.id, "offset": upload.offset, "part_bytes": PART_BYTES}
        return JSONResponse(told, status_code=201)

    found = {**description_of("read"), "openapi_extra": documented}
    app.add_api_route(template, read, methods=["GET"], name=f"read {kind.value}", **found)
    app.add_api_route(template, read, methods=["HEAD"], name=f"look up {kind.value}", **found)
    body = {**documented, "requestBody": {"required": True, "content": {"application/octet-stream": {}}}}
    app.add_api_route(
        template, write, methods=["PUT"], name=f"write {kind.value}", openapi_extra=body, **description_of("write")
    )
    app.add_api_route(
        f"/uploads{template}", begin, methods=["POST"], name=f"upload {kind.value}",
        openapi_extra=documented, **description_of("begin"),
    )  # fmt: skip


def _add_uploads(app: FastAPI, parts: GatewayParts) -> None:
    intake = parts.intake

    async def stand(upload: str) -> JSONResponse:
        found = intake.upload(upload)
        told = {"stored": False, "upload": found.id, "offset": found.offset, "size": found.permit.size}
        return JSONResponse(told, headers={"Cache-Control": "no-store"})

    async def add(request: Request, upload: str, upload_offset: _Number) -> JSONResponse:
        with intake.adding(upload, upload_offset) as found:
            left = found.permit.size - upload_offset
            length = _expect_length(request, 1, min(PART_BYTES, left))
            await _arrive(parts, request, found.file, length)
            complete, reached = found.complete, found.offset
            if not complete:
                return JSONResponse({"stored": False, "upload": found.id, "offset": reached})
        return await _finished(parts, upload)

    app.add_api_route("/uploads/{upload}", stand, methods=["GET"], name="look at an upload", **description_of("stand"))
    body = {"requestBody": {"required": True, "content": {"application/octet-stream": {}}}}
    app.add_api_route(
        "/uploads/{upload}", add, methods=["PATCH"], name="add to an upload", openapi_extra=body,
        **description_of("add"),
    )  # fmt: skip


def _add_service(app: FastAPI, parts: GatewayParts, version: str) -> None:
    domain = parts.doorkeeper.domain

    @app.get("/", **description_of("about"))
    async def about() -> JSONResponse:
        return JSONResponse(
            {
                "service": "deltaproof store gateway",
                "version": version,
                "chain_id": domain.chain_id,
                "contract": domain.contract,
                "part_bytes": PART_BYTES,
                "max_artifact_bytes": parts.doorkeeper.max_artifact_bytes,
            }
        )

    @app.get("/health", **description_of("health"))
    async def health() -> JSONResponse:
        return JSONResponse(
            {"ok": parts.healthy, "problem": parts.problem},
            status_code=200 if parts.healthy else 503,
            headers={"Cache-Control": "no-store"},
        )

    @app.get("/metrics", **description_of("metrics"))
    async def metrics() -> Response:
        text = await to_thread.run_sync(parts.metrics.text, limiter=parts.on_store)
        return Response(text, media_type="text/plain; version=0.0.4")


# How requests are served.


def _named(path: str) -> ArtifactName:
    try:
        return parse_path(path)
    except EncodingError as error:
        raise RequestRefused(404, "no-such-name", str(error)) from error


async def _admitted(parts: GatewayParts, request: Request, path: str, signed: _SignedPermit) -> Grant:
    permit, signature = signed.of(path)
    async with parts.admitted.turn(neighbourhood(request.client.host if request.client else "")):
        return await to_thread.run_sync(parts.doorkeeper.admit, permit, signature, limiter=parts.on_chain)


async def _finished(parts: GatewayParts, number: str) -> JSONResponse:
    upload = parts.intake.upload(number)
    new = await _checked(parts, upload.account, lambda: parts.intake.finish(upload))
    told = {"stored": True, "new": new, "offset": upload.permit.size}
    return JSONResponse(told, status_code=201 if new else 200)


async def _checked(parts: GatewayParts, account: Address, check: Callable[[], bool]) -> bool:
    async with parts.checked.turn(account):
        return await to_thread.run_sync(check, limiter=parts.on_content)


def _expect_length(request: Request, least: int, most: int) -> int:
    said = request.headers.get("content-length", "0" if least == 0 and most == 0 else "")
    if "transfer-encoding" in request.headers or not said.isdecimal() or len(said) > 15:
        raise RequestRefused(411, "no-length", "say in Content-Length how many bytes follow")
    if not least <= int(said) <= most:
        bounds = str(least) if least == most else f"{least} to {most}"
        raise RequestRefused(413, "wrong-length", f"{bounds} bytes were expected, Content-Length says {said}")
    return int(said)


async def _arrive(parts: GatewayParts, request: Request, file: Path, length: int) -> None:
    """Append a body to a file. Raises RequestRefused if it comes too slowly or breaks off; what came stays."""
    gathered, received = bytearray(), 0
    try:
        async with asyncio.timeout(GRACE_SECONDS + length / SLOWEST_BYTES_A_SECOND):
            async for chunk in request.stream():
                received += len(chunk)
                if received > length:
                    raise RequestRefused(413, "wrong-length", f"more than the {length} bytes that were announced")
                gathered += chunk
                if len(gathered) >= WRITE_AT_BYTES:
                    piece, gathered = bytes(gathered), bytearray()
                    await _append(parts, file, piece)
    except TimeoutError as error:
        raise RequestRefused(408, "slow", f"{received} of {length} bytes arrived in time") from error
    except ClientDisconnect as error:
        raise RequestRefused(400, "broken-off", f"the body ended after {received} of {length} bytes") from error
    finally:
        if gathered:
            await _append(parts, file, bytes(gathered))
    if received != length:
        raise RequestRefused(400, "broken-off", f"the body ended after {received} of {length} bytes")


async def _append(parts: GatewayParts, file: Path, piece: bytes) -> None:
    def append() -> None:
        try:
            with file.open("ab") as grown:
                grown.write(piece)
        except OSError as error:
            raise RequestRefused(507, "full", f"this gateway cannot keep it: {error.strerror}", 60) from error

    await to_thread.run_sync(append, limiter=parts.on_store)
    parts.metrics.received.inc(len(piece))


async def _sent(parts: GatewayParts, answer: Answer) -> AsyncIterator[bytes]:
    pieces = answer.pieces()
    while piece := await to_thread.run_sync(partial(next, pieces, b""), limiter=parts.on_store):
        parts.metrics.sent.inc(len(piece))
        yield piece


# What goes on in the background.


async def _background(parts: GatewayParts) -> None:
    while True:
        for what, look in (("chain", _see_chain), ("store", _see_store), ("retention", _sweep)):
            try:
                await to_thread.run_sync(look, parts, limiter=parts.on_store)
            except Exception as error:  # a full disk, or a node that answers nonsense: what looks no more finds nothing
                told = str(error) if isinstance(error, DeltaproofError) else f"{type(error).__name__}: {error}"
                parts.problem = f"{what}: {told}"
                parts.metrics.failures.labels(what).inc()
        if parts.healthy:
            parts.problem = ""
        await asyncio.sleep(LOOK_SECONDS)


def _see_chain(parts: GatewayParts) -> None:
    parts.doorkeeper.facts.gateway.connection.timestamp()
    parts.chain_seen_at = time.monotonic()


def _see_store(parts: GatewayParts) -> None:
    parts.intake.depot.exists(f"blob/{'0' * 64}")
    parts.store_seen_at = time.monotonic()


def _sweep(parts: GatewayParts) -> None:
    parts.intake.drop_stale()
    swept = parts.retention.sweep()
    parts.metrics.swept.labels("archived").inc(swept.archived)
    parts.metrics.swept.labels("removed").inc(swept.removed)
