"""What surrounds every request: how often an address may ask, how long an answer may take, how refusals are told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match

from deltaproof.errors import ArtifactMissing, ChainError, DeltaproofError, StoreUnavailable
from deltaproof.gateway.metrics import GatewayMetrics
from deltaproof.gateway.refusals import RequestRefused
from deltaproof.gateway.traffic import RequestRate, neighbourhood

__all__ = ["Bounded", "tell_errors"]

SEND_SECONDS = 30.0
"""How long one piece of an answer may take to leave."""


def tell_errors(app: FastAPI, metrics: GatewayMetrics) -> None:
    """Let every refusal be answered as JSON: a sentence for people, and a stable code for programs."""

    def told(status: int, code: str, message: str, retry_after: int | None = None) -> JSONResponse:
        metrics.refusals.labels(code).inc()
        headers = {"Cache-Control": "no-store"} | ({"Retry-After": str(retry_after)} if retry_after else {})
        return JSONResponse({"error": message, "code": code}, status_code=status, headers=headers)

    @app.exception_handler(RequestRefused)
    async def refused(_: Request, error: RequestRefused) -> JSONResponse:
        return told(error.status, error.code, str(error), error.retry_after)

    @app.exception_handler(DeltaproofError)
    async def failed(_: Request, error: DeltaproofError) -> JSONResponse:
        if isinstance(error, ArtifactMissing):
            return told(404, "missing", str(error))
        if isinstance(error, StoreUnavailable):
            return told(503, "store-away", "the store behind this gateway does not answer", 2)
        if isinstance(error, ChainError):
            return told(503, "chain-away", "the chain behind this gateway does not answer", 2)
        raise error

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return told(422, "malformed", f"{'.'.join(map(str, first['loc']))}: {first['msg']}")

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> JSONResponse:
        code = {404: "no-such-name", 405: "no-such-method"}.get(error.status_code, "refused")
        answer = told(error.status_code, code, str(error.detail))
        if error.status_code == 405:
            here = [route for route in app.routes if route.matches(request.scope)[0] is not Match.NONE]
            methods = {method for route in here for method in getattr(route, "methods", None) or ()}
            answer.headers["Allow"] = ", ".join(sorted(methods))
        return answer


class Bounded:
    """Rates per address, time for answers to leave, and counting, around every request."""

    def __init__(
        self, app: Callable[..., Awaitable[None]], metrics: GatewayMetrics, reads: RequestRate, writes: RequestRate
    ) -> None:
        self._app, self._metrics, self._reads, self._writes = app, metrics, reads, writes

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.monotonic(), 500
        method = scope["method"] if scope["method"] in ("GET", "HEAD", "PUT", "POST", "PATCH") else "other"

        async def bounded(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            async with asyncio.timeout(SEND_SECONDS):
                await send(message)

        try:
            rate = self._reads if method in ("GET", "HEAD") else self._writes
            client = scope.get("client")
            wait = rate.seconds_to_wait(neighbourhood(client[0] if client else ""))
            if wait:
                self._metrics.refusals.labels("too-fast").inc()
                told = {"error": "too many requests from this address", "code": "too-fast"}
                refusal = JSONResponse(told, status_code=429, headers={"Retry-After": str(int(wait) + 1)})
                await refusal(scope, receive, bounded)
            else:
                await self._app(scope, receive, bounded)
        except TimeoutError:
            # Nothing can be said any more, and closing would wait for the reader.
            self._metrics.refusals.labels("slow-reader").inc()
            scope["state"]["abort"]()
        finally:
            kind = scope["path"].split("/")[1] if scope.get("route") else "none"
            self._metrics.requests.labels(method, kind, str(status)).inc()
            self._metrics.seconds.labels(method).observe(time.monotonic() - started)
