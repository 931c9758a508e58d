"""Write float32.json: binary32 operations as the machine computes them, for `contracts/libraries/Float32.sol`.

``python tests/vectors/generate_float32.py``. Bit patterns as integers; NaN results are written as 0x7fc00000.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np

CANONICAL_NAN = 0x7FC00000
EDGES = (
    *(0x00000000, 0x00000001, 0x00000002, 0x007FFFFF, 0x00800000, 0x00800001, 0x33800000, 0x34000000, 0x3F7FFFFF),
    *(0x3F800000, 0x3F800001, 0x3FFFFFFF, 0x40000000, 0x4B7FFFFF, 0x4B800000, 0x7F7FFFFF, 0x7F800000, 0x7FC00000),
)
RANDOM_PAIRS = 400


def main() -> None:
    pairs = operands()
    a, b = (np.array(column, dtype=np.uint32).view(np.float32) for column in zip(*pairs, strict=True))
    with np.errstate(all="ignore"):
        results = {"add": a + b, "sub": a - b, "mul": a * b, "div": a / b, "sqrt": np.sqrt(a)}
    document = {"a": bits(a), "b": bits(b)} | {name: bits(values) for name, values in results.items()}
    path = Path(__file__).with_name("float32.json")
    path.write_text(json.dumps(document, separators=(",", ":")).replace('],"', '],\n"') + "\n")


def operands() -> list[tuple[int, int]]:
    """Every pair of edge cases in both signs, and random pairs: any bits, close exponents, near cancellation."""
    edges = [edge | sign for edge in EDGES for sign in (0, 0x80000000)]
    pairs = [(x, y) for x in edges for y in edges[::3]]
    draw = random.Random(32)
    for _ in range(RANDOM_PAIRS):
        pairs.append((draw.getrandbits(32), draw.getrandbits(32)))
        exponent = draw.randrange(1, 254)
        near = min(254, max(0, exponent + draw.randrange(-30, 31)))
        pairs.append((number(draw, exponent), number(draw, near)))
        x = number(draw, exponent)
        pairs.append((x, (x ^ 0x80000000) + draw.randrange(-3, 4) & 0xFFFFFFFF))
    return pairs


def number(draw: random.Random, exponent: int) -> int:
    return draw.getrandbits(1) << 31 | exponent << 23 | draw.getrandbits(23)


def bits(values: np.ndarray) -> list[int]:
    raw = np.where(np.isnan(values), np.uint32(CANONICAL_NAN), values.view(np.uint32))
    return [int(value) for value in raw]


if __name__ == "__main__":
    main()
