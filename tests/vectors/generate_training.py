"""Write the vectors for opened values, records and single-element optimiser steps that Python and Solidity share.

    python tests/vectors/generate_training.py

Float32 values are given as their bits, eight hexadecimal digits. Every optimiser case is computed twice, by numpy and
by torch, and must agree before it is written.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import torch

from deltaproof.protocol.evidence.state import Layout, StateRoots, component_root, open_value
from deltaproof.protocol.evidence.transcript import StepRecord, transcript_root
from deltaproof.protocol.terms.spec import OptimizerSection
from deltaproof.protocol.types import hex_of
from deltaproof.protocol.wire import merkle
from deltaproof.tuning.training.optimizers import (
    CONSTANT_NAMES,
    OPTIMIZER_IDS,
    constants_of,
    constants_root,
    constants_table,
    update,
)

FOLDER = Path(__file__).parent
SLOTS = ("theta", "m", "v")


def bits(value: float | np.float32) -> str:
    return "0x" + struct.pack(">f", np.float32(value)).hex()


def number(text: str) -> np.float32:
    return np.float32(struct.unpack(">f", bytes.fromhex(text))[0])


def hexes(digests: object) -> list[str]:
    return [hex_of(digest) for digest in digests]  # type: ignore[attr-defined]


# Opened values, records, trees


def opened_values() -> dict[str, object]:
    generator = np.random.default_rng(2024)
    layout = Layout.of({"a.weight": (16, 20), "b.weight": (3, 7, 11), "c.bias": (300,)})
    vectors = {slot: generator.standard_normal(layout.size).astype(np.float32) for slot in SLOTS}
    vectors["v"] = np.abs(vectors["v"])
    gradient = generator.standard_normal(layout.size).astype(np.float32)
    roots = StateRoots(**{slot: component_root(values) for slot, values in vectors.items()})
    states = []
    for slot in SLOTS:
        for index in (0, 255, 256, layout.size - 1):
            opening = open_value(vectors[slot], index, slot, roots)
            states.append(
                {
                    "component": slot,
                    "index": index,
                    "value": bits(opening.value),
                    "chunk": hex_of(opening.chunk),
                    "siblings": hexes(opening.siblings),
                }
            )
    gradients = [
        {"index": i, "value": bits(o.value), "chunk": hex_of(o.chunk), "siblings": hexes(o.siblings)}
        for i in (0, 300, layout.size - 1)
        for o in [open_value(gradient, i)]
    ]
    return {
        "size": layout.size,
        "chunks": layout.chunks,
        "stateRoot": hex_of(roots.root()),
        "componentRoots": {slot: hex_of(getattr(roots, slot)) for slot in (*SLOTS, "e")},
        "gradRoot": hex_of(component_root(gradient)),
        "state": states,
        "gradient": gradients,
    }


def records() -> dict[str, object]:
    made = [
        StepRecord(
            t,
            bytes([t + 1]) * 32,
            bytes([t + 65]) * 32,
            bytes([t + 129]) * 32,
            float(np.float32(0.1 * (t + 1))),
            0.5 + t,
        )
        for t in range(6)
    ]
    made.append(StepRecord(6, bytes([7]) * 32))
    digests = [record.digest for record in made]
    return {
        "records": [
            {"encoded": hex_of(r.encode()), "digest": hex_of(r.digest), "proof": hexes(merkle.proof(digests, r.step))}
            for r in made
        ],
        "transcriptRoot": hex_of(transcript_root(digests)),
    }


def trees() -> list[dict[str, object]]:
    made = []
    for count in (1, 2, 3, 4, 5, 7, 8, 9):
        leaves = [merkle.leaf(bytes([i]) * 5) for i in range(count)]
        index = count // 2
        made.append(
            {
                "leaves": hexes(leaves),
                "root": hex_of(merkle.root(leaves)),
                "index": index,
                "proof": hexes(merkle.proof(leaves, index)),
            }
        )
    return made


def rows() -> dict[str, str]:
    salt, row = bytes(range(32)), b'{"label":1,"text":"good"}'
    return {"salt": hex_of(salt), "row": row.decode(), "digest": hex_of(merkle.row_leaf(salt, row))}


# Optimiser steps


def numpy_update(optimizer: int, k: dict[str, np.float32], s: dict[str, np.float32], g: np.float32, scale: np.float32):
    """The formulas of docs/protocol.md on numpy float32 scalars, independent of tuning/training/optimizers.py."""
    g1 = g * scale
    g2 = g1 + k["l2"] * s["theta"]
    decayed = s["theta"] * k["decay"]
    if optimizer == 0:
        return {"theta": decayed - k["lr"] * g2}
    if optimizer == 1:
        m = k["momentum"] * s["m"] + g2
        return {"theta": decayed - k["lr"] * m, "m": m}
    m = k["beta1"] * s["m"] + k["one_minus_beta1"] * g2
    v = k["beta2"] * s["v"] + k["one_minus_beta2"] * (g2 * g2)
    return {"theta": decayed - k["lr"] * ((m * k["ib1"]) / (np.sqrt(v * k["ib2"]) + k["eps"])), "m": m, "v": v}


def case(
    name: str, section: OptimizerSection, step: int, values: tuple[float, ...], scale: float = 1.0
) -> dict[str, object]:
    theta, m, v, gradient = (np.float32(value) for value in values)
    table = constants_table(section, 12)
    constants = constants_of(table, step)
    optimizer = OPTIMIZER_IDS[section.name]
    state = {"theta": theta, "m": m, "v": v}
    used = {slot: state[slot] for slot in SLOTS[: optimizer + 1]}
    with np.errstate(over="ignore", under="ignore"):
        expected = numpy_update(
            optimizer, {k: np.float32(c) for k, c in constants.items()}, used, gradient, np.float32(scale)
        )
    tensors = {slot: torch.tensor([float(value)], dtype=torch.float32) for slot, value in used.items()}
    found = update(optimizer, constants, tensors, torch.tensor([float(gradient)]), float(np.float32(scale)))
    for slot, value in expected.items():
        if bits(float(found[slot][0])) != bits(value):
            raise AssertionError(f"{name}: torch and numpy disagree on {slot}")
    return {
        "name": name,
        "optimizer": optimizer,
        "constants": [bits(value) for value in table[step]],
        "clipScale": bits(scale),
        "gradient": bits(gradient),
        **{slot: bits(state[slot]) for slot in SLOTS},
        "next": {slot: bits(expected.get(slot, np.float32(0))) for slot in SLOTS},
        "finite": all(bool(np.isfinite(value)) for value in expected.values()),
    }


def optimizer_cases() -> list[dict[str, object]]:
    adamw = OptimizerSection(name="adamw", learning_rate=1e-3, weight_decay=0.01)
    sections = [
        OptimizerSection(name="sgd", learning_rate=0.1),
        OptimizerSection(name="sgd", learning_rate=0.05, weight_decay=0.01, schedule="cosine"),
        OptimizerSection(name="momentum", learning_rate=0.1, schedule="linear", warmup_steps=3),
        OptimizerSection(name="adam", learning_rate=1e-3, weight_decay=0.1),
        adamw,
    ]
    plain = OptimizerSection(name="sgd", learning_rate=1.0)
    half = OptimizerSection(name="sgd", learning_rate=0.5)
    tie = float(np.float32(1.0) + np.spacing(np.float32(1.0)))
    tiny = float(np.float32(1e-45))
    edges = [
        case("zero everything", adamw, 0, (0.0, 0.0, 0.0, 0.0)),
        case("negative zero gradient", adamw, 0, (-0.0, 0.0, 0.0, -0.0)),
        case("smallest subnormal gradient", adamw, 0, (0.5, 0.0, 0.0, tiny)),
        case("subnormal moments", adamw, 5, (1e-40, 3e-41, 7e-45, 1e-42)),
        case("subnormal result of a product", half, 0, (0.0, 0.0, 0.0, 3 * tiny)),
        case("second moment underflows to zero", adamw, 0, (0.1, 0.0, 0.0, 1e-25)),
        case("tie to even, down", plain, 0, (1.0, 0.0, 0.0, -(2.0**-24))),
        case("tie to even, up", plain, 0, (tie, 0.0, 0.0, -(2.0**-24))),
        case("tie in a product", half, 0, (0.0, 0.0, 0.0, 5 * tiny)),
        case("just above a tie", plain, 0, (1.0, 0.0, 0.0, -(2.0**-24) * (1 + 2**-20))),
        case("cancellation to zero", plain, 0, (1.25, 0.0, 0.0, 1.25)),
        case("cancellation leaves one step", plain, 0, (tie, 0.0, 0.0, 1.0)),
        case(
            "carry into the next binade",
            plain,
            0,
            (float(np.nextafter(np.float32(2), np.float32(0))), 0.0, 0.0, -(2.0**-24)),
        ),
        case("huge gradient overflows the square", adamw, 0, (0.1, 0.0, 0.0, 1e30)),
        case("sgd overflows to infinity", plain, 0, (3e38, 0.0, 0.0, -3e38)),
        case("clipped gradient", adamw, 2, (0.1, -0.01, 1e-4, 7.5), scale=0.13333334),
        case("largest finite value", plain, 0, (float(np.finfo(np.float32).max), 0.0, 0.0, 1.0)),
    ]
    generator = np.random.default_rng(7)
    drawn = []
    for section in sections:
        for i in range(24):
            size = 10.0 ** generator.uniform(-12, 2)
            theta, m, gradient = (generator.standard_normal(3) * (1.0, size, size)).tolist()
            v = float(generator.standard_normal() ** 2 * size * size)
            scale = 1.0 if i % 3 else float(np.float32(generator.uniform(0.01, 1.0)))
            drawn.append(case(f"{section.name} drawn {i}", section, i % 12, (theta, m, v, gradient), scale))
    # Any bits at all, as long as they are finite.
    for i in range(60):
        words = generator.integers(0, 2**32, 4, dtype=np.uint64).astype(np.uint32).view(np.float32)
        if not np.isfinite(words).all():
            continue
        words[2] = abs(words[2])
        drawn.append(case(f"arbitrary bits {i}", sections[i % 5], i % 12, tuple(float(w) for w in words)))
    return [*edges, *drawn]


def constants() -> list[dict[str, object]]:
    sections = [
        OptimizerSection(name="adamw", learning_rate=2e-4, weight_decay=0.01, schedule="cosine", warmup_steps=2),
        OptimizerSection(name="momentum", learning_rate=0.1, schedule="linear"),
    ]
    made = []
    for section in sections:
        table = constants_table(section, 7)
        leaves = [merkle.leaf(row.astype("<f4").tobytes()) for row in table]
        made.append(
            {
                "rows": [[bits(value) for value in row] for row in table],
                "root": hex_of(constants_root(table)),
                "index": 5,
                "proof": hexes(merkle.proof(leaves, 5)),
            }
        )
    return made


def main() -> None:
    documents = {
        "state_opening.json": {"trees": trees(), "row": rows(), "values": opened_values(), "transcript": records()},
        "optimizer.json": {"constantNames": CONSTANT_NAMES, "tables": constants(), "steps": optimizer_cases()},
    }
    for name, document in documents.items():
        (FOLDER / name).write_text(json.dumps(document, indent=1) + "\n", "utf-8")
        print(f"wrote {FOLDER.name}/{name}")


if __name__ == "__main__":
    main()
