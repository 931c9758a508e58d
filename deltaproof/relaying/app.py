"""The relay's HTTP interface (docs/operating.md): commitments and reveals as small JSON.

Signatures are checked in a few threads of their own; nothing that a stranger sends makes this ask the chain.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import ClientDisconnect

from deltaproof.chain import Gateway
from deltaproof.chain.abi.structs import RevealData
from deltaproof.chain.signed_commits import CommitPermit
from deltaproof.gateway.bounds import Bounded, tell_errors
from deltaproof.gateway.metrics import GatewayMetrics
from deltaproof.gateway.refusals import RequestRefused
from deltaproof.gateway.traffic import RequestRate
from deltaproof.protocol.types import AddressField, RoundIndex, TaskId, digest32
from deltaproof.relaying.desk import Desk

__all__ = ["create_relay_app"]

M = TypeVar("M", bound=BaseModel)
MAX_BODY_BYTES = 1_024
BODY_SECONDS = 10.0
Hash = Annotated[str, Field(pattern="^0x[0-9a-f]{64}$")]


class _Handed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    task: Annotated[int, Field(ge=1, lt=2**64)]
    round: Annotated[int, Field(ge=1, lt=2**32)]


class _Commitment(_Handed):
    commitment: Hash
    signature: Annotated[str, Field(pattern="^0x[0-9a-f]{130}$")]


class _Reveal(_Handed):
    trainer: AddressField
    delta_digest: Hash
    transcript_root: Hash
    salt: Hash


def create_relay_app(
    gateway: Gateway,
    desks: Mapping[TaskId, Desk],
    metrics: GatewayMetrics,
    *,
    reads: RequestRate,
    writes: RequestRate,
    claims: bool,
    version: str,
) -> FastAPI:
    """The application before the desks of all tasks that the relay serves."""
    app = FastAPI(
        title="deltaproof relay", version=version, docs_url=None, redoc_url=None, openapi_url=None,
        redirect_slashes=False,
    )  # fmt: skip
    tell_errors(app, metrics)
    checking = CapacityLimiter(4)

    def desk_of(task: int) -> Desk:
        desk = desks.get(TaskId(task))
        if desk is None:
            raise RequestRefused(403, "not-served", f"this relay does not serve task {task}")
        return desk

    async def checked(take: Callable[[], None]) -> JSONResponse:
        await to_thread.run_sync(take, limiter=checking)
        return JSONResponse({"taken": True}, status_code=202, headers={"Cache-Control": "no-store"})

    @app.get("/")
    async def about() -> JSONResponse:
        told = {"chain_id": gateway.connection.chain_id, "contract": gateway.tasks.address, "tasks": sorted(desks)}
        return JSONResponse({"service": "deltaproof relay", "version": version, **told, "fee": "0", "claims": claims})

    @app.post("/commitments")
    async def commitment(request: Request) -> JSONResponse:
        handed = await _body(request, _Commitment)
        desk = desk_of(handed.task)
        permit = CommitPermit(TaskId(handed.task), RoundIndex(handed.round), digest32(handed.commitment))
        return await checked(partial(desk.take_commitment, permit, bytes.fromhex(handed.signature[2:])))

    @app.post("/reveals")
    async def reveal(request: Request) -> JSONResponse:
        handed = await _body(request, _Reveal)
        desk = desk_of(handed.task)
        data = RevealData(*map(digest32, (handed.delta_digest, handed.transcript_root, handed.salt)))
        return await checked(partial(desk.take_reveal, RoundIndex(handed.round), handed.trainer, data))

    app.add_middleware(Bounded, metrics=metrics, reads=reads, writes=writes)
    return app


async def _body(request: Request, kind: type[M]) -> M:
    """The body, if it is small, comes in time and is what was asked for. Raises RequestRefused."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise RequestRefused(413, "too-large", f"at most {MAX_BODY_BYTES} bytes are expected")
    except TimeoutError as error:
        raise RequestRefused(408, "slow", f"the body did not come within {BODY_SECONDS:.0f} s") from error
    except ClientDisconnect as error:
        raise RequestRefused(400, "broken-off", "the body broke off") from error
    try:
        return kind.model_validate_json(bytes(body))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "body"
        raise RequestRefused(422, "malformed", f"{where}: {first['msg']}") from error
