"""Attacks on openings' files, on the transcript tree, and by restarting: each must fail outright."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.attacks.arena import Arena
from deltaproof.protocol.evidence.transcript import serialize_opening
from deltaproof.protocol.wire import merkle


def lucky_restart(arena: Arena) -> str:
    """Restarting in the hope of a luckier order: the order does not depend on anything a trainer can change."""
    roots = {arena.forge(lambda *_: None).transcript_root for _ in range(3)}
    orders = {arena.context.batch(arena.bench.spec, 0) for _ in range(3)}
    return (
        f"restart until the order is lucky: 3 restarts gave {len(orders)} order and {len(roots)} transcript; "
        "an order of one's own is refused (above)"
    )


# Files


def hostile_files(arena: Arena) -> list[str]:
    """Openings that aim at the parser; each must be a verdict, in bounded time and memory."""
    forged = arena.forge(lambda *_: None)
    data = serialize_opening(forged.openings[1])
    replay = forged.context(arena.context)
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])

    def with_header(change: Callable[[dict[str, Any]], None], body: bytes | None = None) -> bytes:
        changed = json.loads(json.dumps(header))
        change(changed)
        encoded = json.dumps(changed, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        encoded += b" " * (-len(encoded) % 8)
        return len(encoded).to_bytes(8, "little") + encoded + (data[8 + length :] if body is None else body)

    nan = replace(forged.openings[1], gradient=np.full(arena.bench.layout.size, np.nan, np.float32))
    wide = replace(forged.openings[1], state={k: np.zeros(7, np.float32) for k in forged.openings[1].state})
    extra = replace(forged.openings[1], state={**forged.openings[1].state, "extra": np.zeros(3, np.float32)})
    files = {
        "NaN gradient": serialize_opening(nan),
        "wrong shape": serialize_opening(wide),
        "extra tensor": serialize_opening(extra),
        "missing tensor": with_header(lambda h: h.pop("m")),
        "shape of 2^60 values": with_header(lambda h: h["m"].update(shape=[2**60])),
        "overlapping tensors": with_header(lambda h: h["m"].update(data_offsets=h["grad"]["data_offsets"])),
        "header of 2^62 bytes": (2**62).to_bytes(8, "little") + data[8:],
        "deeply nested header": (60_000).to_bytes(8, "little") + b'{"a":' * 12_000 + data,
        "float64 in place of float32": with_header(lambda h: h["m"].update(dtype="F64")),
        "pickle": b"\x80\x04\x95" + data,
        "zip bomb": b"PK\x03\x04" + bytes(1 << 20),
        "oversize": data + bytes(1 << 26),
        "truncated": data[: len(data) // 2],
        "empty (withheld)": b"",
    }
    refused, slowest = [], 0.0
    for name, content in files.items():
        begun = time.perf_counter()
        verdict = arena.judge.judge_bytes(content, 1, replay)
        slowest = max(slowest, time.perf_counter() - begun)
        if verdict.accepted:
            raise AssertionError(f"hostile file accepted: {name}")
        refused.append(name)
    return [
        f"hostile files: {len(refused)} of {len(files)} refused ({', '.join(refused)}); slowest {slowest * 1e3:.1f} ms"
    ]


def second_preimages(arena: Arena) -> list[str]:
    """Show inner nodes as leaves, and leaves as inner nodes, at every depth of a transcript."""
    forged = arena.forge(lambda *_: None)
    digests = [opening.before.digest for opening in forged.openings] + [forged.openings[-1].after.digest]
    levels, tried = merkle.levels(digests), 0
    for height in range(1, len(levels)):
        for index, inner in enumerate(levels[height]):
            proof = merkle.proof_from_levels(levels, index << height)[height:]
            for count in (len(digests), len(digests) // 2, len(levels[height])):
                tried += 1
                fits_elsewhere = count != len(digests)
                if merkle.verify(levels[-1][0], inner, index, count, proof) and not fits_elsewhere:
                    raise AssertionError("an inner node passed as a record")
            if index * 2 + 1 < len(levels[height - 1]):
                pair = levels[height - 1][index * 2] + levels[height - 1][index * 2 + 1]
                tried += 1
                if inner in (merkle.leaf(pair), merkle.record_leaf(pair)):
                    raise AssertionError("a 64-byte leaf passed as an inner node")
    return [f"second preimages and 64-byte leaves on the transcript tree: {tried} attempts, none passed"]
