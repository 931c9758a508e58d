"""A round's artifacts through a folder, a bucket (moto), and a gateway before each; large reads, alone and at once."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from threading import Thread
from typing import Any

import boto3
import requests
from moto.server import ThreadedMotoServer

from benchmarks.network.hostile import hostile_figures
from deltaproof.chain.local_node import start_node
from deltaproof.gateway.server import GatewayOptions
from deltaproof.protocol.wire.encoding import sha256
from deltaproof.store.backend import Backend, open_backend
from tests.gateway.conftest import Scene, scene_of, serving
from tests.worlds.roles import build_world
from trainer.conduct import Honest

__all__ = ["serving_figures"]

LARGE_BYTES = 16 * 1024 * 1024
READERS = 4
REPEATED = 3
LIMITLESS = {"reads_per_second": 1e6, "writes_per_second": 1e6}
"""Nothing is limited that is measured."""
Place = Callable[[str], Backend]
"""The backend of a participant, by name."""


def serving_figures(folder: Path) -> dict[str, Any]:
    """Seconds of writing and reading a round, and bytes a second of large reads, for each way to a store."""
    with ExitStack() as stack:
        scene, round_seconds = _played(stack, folder)
        places = _places(stack, scene, folder)
        rounds: dict[str, dict[str, float]] = {}
        for number in range(REPEATED):
            for name, make in places.items():
                place = make(f"round-{number}")
                for what, seconds in _round_through(scene, place).items():
                    rounds.setdefault(name, {})[what] = min(seconds, rounds.get(name, {}).get(what, seconds))
        return {
            "artifacts": len(scene.files),
            "bytes": sum(map(len, scene.files.values())),
            "round_seconds": round_seconds,
            "through": rounds,
            "large": _large(stack, scene, folder),
            "hostile": hostile_figures(scene, folder / "hostile"),
        }


def _played(stack: ExitStack, folder: Path) -> tuple[Scene, float]:
    """A task with two trainers and one verifier, its openings and adapters sealed, after one round; and how long that
    took."""
    node = stack.enter_context(start_node("anvil"))
    private = 'visibility = "verifiers"\n[adapter]\nvisibility = "participants"'
    world = build_world(node, folder, rounds=2, honest=1, cheat=Honest(), verifiers=1, data=private)
    stack.callback(world.close)
    begun = time.perf_counter()
    world.play(1)
    return scene_of(world), time.perf_counter() - begun


def _places(stack: ExitStack, scene: Scene, folder: Path) -> Mapping[str, Callable[[str], Place]]:
    """By name: what gives, for a fresh part of a store, everybody's backend."""
    stack.enter_context(_bucket())

    def gateway(store: str, part: str) -> Place:
        options = GatewayOptions(
            store=f"{store}/{part}", home=folder / "gateways" / store.replace("/", "-") / part, version="benchmark",
            **LIMITLESS,
        )  # fmt: skip
        served = stack.enter_context(serving(scene, options))
        return served.client

    plain: dict[str, Callable[[str], Place]] = {
        "folder": lambda part: lambda _: open_backend(str(folder / "plain" / part)),
        "S3 (moto)": lambda part: lambda _: open_backend(f"s3://artifacts/plain/{part}"),
        "gateway, folder behind it": partial(gateway, str(folder / "served")),
        "gateway, S3 (moto) behind it": partial(gateway, "s3://artifacts/served"),
    }
    return plain


def _round_through(scene: Scene, place: Place) -> dict[str, float]:
    """Seconds of each participant writing what it made, the spec first, and of one reader reading all of it."""
    spec = scene.world.gateway.terms.params(scene.task).spec_hash.hex()
    ordered = sorted(scene.files, key=lambda path: path != f"blob/{spec}")
    writers = {name: place(name) for name in ("sponsor", "ann", "ben", "vera")}
    begun = time.perf_counter()
    for path in ordered:
        writers[scene.maker(path)].write(path, scene.files[path])
    written = time.perf_counter()
    reader = place("")
    for path, data in scene.files.items():
        if reader.read(path, len(data)) != data:
            raise AssertionError(path)
    return {"write": written - begun, "read": time.perf_counter() - written}


def _large(stack: ExitStack, scene: Scene, folder: Path) -> dict[str, dict[str, float]]:
    """Bytes a second of reading one large artifact, alone and by several at once."""
    data = os.urandom(LARGE_BYTES)
    path = f"blob/{sha256(data).hex()}"
    behind = folder / "large"
    open_backend(str(behind)).write(path, data)
    open_backend("s3://artifacts/large").write(path, data)
    gateways = {
        name: stack.enter_context(
            serving(scene, GatewayOptions(store=store, home=folder / f"g{n}", version="benchmark", **LIMITLESS))
        ).client
        for n, (name, store) in enumerate(
            {"gateway, folder behind it": str(behind), "gateway, S3 (moto) behind it": "s3://artifacts/large"}.items()
        )
    }
    files = stack.enter_context(_file_server(behind))
    ways: dict[str, Callable[[], int]] = {
        "folder": lambda: len(open_backend(str(behind)).read(path, LARGE_BYTES)),
        "Python's own file server": lambda: len(requests.get(f"{files}/{path}", timeout=60).content),
        "S3 (moto)": lambda: len(open_backend("s3://artifacts/large").read(path, LARGE_BYTES)),
        **{name: lambda c=client: len(c().read(path, LARGE_BYTES)) for name, client in gateways.items()},
    }
    return {name: {"one": _rate(read, 1), "many": _rate(read, READERS)} for name, read in ways.items()}


def _rate(read: Callable[[], int], readers: int) -> float:
    rates = []
    for _ in range(REPEATED):
        begun = time.perf_counter()
        with ThreadPoolExecutor(readers) as pool:
            total = sum(pool.map(lambda _: read(), range(readers)))
        rates.append(total / (time.perf_counter() - begun))
    return median(rates)


@contextmanager
def _bucket() -> Iterator[None]:
    """An S3 service with the bucket `artifacts`; the environment says where it is."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    before = dict(os.environ)
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
    }  # fmt: skip
    boto3.client("s3").create_bucket(Bucket="artifacts")
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        server.stop()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def _file_server(folder: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
