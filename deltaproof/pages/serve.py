"""The pages live: the same answers over HTTP, a follower in the background, and an event for every new block.

Everything is read-only and nothing is cached by the browser. `/health` tells whether the follower still follows,
`/metrics` is for Prometheus.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse

from deltaproof.auditor.index.follower import Follower, Synced
from deltaproof.auditor.index.reader import Index
from deltaproof.errors import DeltaproofError
from deltaproof.pages.data import PageData
from deltaproof.pages.metrics import IndexMetrics
from deltaproof.pages.render import render

__all__ = ["LiveIndex", "create_app"]

STALE_SECONDS = 60.0
HEARTBEAT_SECONDS = 15.0
MOST_LISTENING = 256
"""Open pages that are told of new blocks; others are served, and stay as they are until they are loaded again."""


class LiveIndex:
    """A follower that runs in a thread and tells who waits about every new block."""

    def __init__(self, follower: Follower, index: Index, poll_seconds: float) -> None:
        self._follower, self._index, self._poll = follower, index, poll_seconds
        self.metrics = IndexMetrics()
        self.synced = Synced()
        self.problem: str | None = None
        self.version = 0
        self.listening = 0
        """Open streams of events."""
        self._updated_at = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="index", daemon=True)

    def start(self) -> None:
        """Begin to follow the chain, in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """End that thread; waits ten seconds at most."""
        self._stop.set()
        self._thread.join(timeout=10)

    @property
    def healthy(self) -> bool:
        """Whether the last look at the chain worked and was not long ago."""
        return self.problem is None and time.monotonic() - self._updated_at < STALE_SECONDS

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                synced = self._follower.sync()
                self.metrics.observe(synced, self._index.counts())
                self.problem, self._updated_at = None, time.monotonic()
                if synced.head != self.synced.head or synced.rolled_back_to is not None:
                    self.synced = synced
                    self.version += 1
            except Exception as error:  # a full disk, a database or node that is away or answers nonsense
                self._failed(error)
            self._stop.wait(self._poll)

    def _failed(self, error: Exception) -> None:
        """Look again: a follower that is no more would show an old chain for ever. Strangers read what is told."""
        foreseen = isinstance(error, DeltaproofError)
        problem = str(error) if foreseen else f"the index cannot follow the chain ({type(error).__name__})"
        if not foreseen and problem != self.problem:
            logging.getLogger(__name__).error("%s; it is tried again", problem, exc_info=error)
        self.problem = problem
        self.metrics.failures.inc()


def create_app(data: PageData, live: LiveIndex) -> FastAPI:
    """The application; its follower runs while it does."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        live.start()
        yield
        live.stop()

    app = FastAPI(title="deltaproof", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    page = render(None)

    @app.get("/", response_class=HTMLResponse)
    def root() -> HTMLResponse:
        return HTMLResponse(page, headers={"Cache-Control": "no-store"})

    @app.get("/api/{path:path}")
    async def answer(path: str) -> JSONResponse:
        try:
            found = await run_in_threadpool(data.at, path)
        except KeyError:
            return JSONResponse({"error": f"there is no {path!r} here"}, status_code=404)
        except DeltaproofError as error:
            return JSONResponse({"error": str(error)}, status_code=404)
        return JSONResponse(found, headers={"Cache-Control": "no-store"})

    @app.get("/events", response_model=None)
    async def events() -> Response:
        # Attack: listen ten thousand times, and each stream is looked after five times a second.
        if live.listening >= MOST_LISTENING:
            return JSONResponse({"error": "too many pages listen"}, status_code=503, headers={"Retry-After": "60"})
        return StreamingResponse(_stream(live), media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    @app.get("/health")
    def health() -> JSONResponse:
        state = {"ok": live.healthy, "block": live.synced.head, "problem": live.problem}
        return JSONResponse(state, status_code=200 if live.healthy else 503)

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(live.metrics.text(), media_type="text/plain; version=0.0.4")

    return app


async def _stream(live: LiveIndex) -> AsyncIterator[str]:
    """One server-sent event per new head, a comment now and then so that broken connections are noticed."""
    seen, quiet = -1, 0.0
    live.listening += 1
    try:
        while True:
            if live.version != seen:
                seen, quiet = live.version, 0.0
                body = {"block": live.synced.head, "events": live.synced.events}
                yield f"event: block\ndata: {json.dumps(body)}\n\n"
            elif quiet >= HEARTBEAT_SECONDS:
                quiet = 0.0
                yield ": still here\n\n"
            await asyncio.sleep(0.2)
            quiet += 0.2
    finally:
        live.listening -= 1
