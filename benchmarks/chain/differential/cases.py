"""Random cases with many edges, computed on both sides and compared."""

from __future__ import annotations

from collections import Counter

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.chain.differential.harness import Harness, words
from deltaproof.protocol.terms.spec import OptimizerSection
from deltaproof.tuning.training.optimizers import constants_of, constants_table, optimizer_id, slots_of, update
from incentives.payouts import PayoutEntry, PayoutTerms, compute_payouts

__all__ = ["payout_batch", "step_batch"]

MOST_LEAVES = 12
SCORES = (0, 0, 1, -1, 2**63 - 1, -(2**63), 10**6, 10**6)
DISCOUNTS = (0, 0, 0, 10_000, 9_999, 1)
SECTIONS = (
    OptimizerSection(name="sgd", learning_rate=0.05, weight_decay=0.01, schedule="cosine"),
    OptimizerSection(name="momentum", learning_rate=0.1, schedule="linear", warmup_steps=3),
    OptimizerSection(name="adam", learning_rate=1e-3, weight_decay=0.1),
    OptimizerSection(name="adamw", learning_rate=1e-3, weight_decay=0.01),
)
STEPS = 12


def payout_batch(random: np.random.Generator, harness: Harness, cases: int) -> Counter[str]:
    """So many rounds. Raises AssertionError where the sides differ."""
    each, seen = int(random.integers(1, MOST_LEAVES + 1)), Counter[str]()
    terms, leaves, expected = [], [], []
    for _ in range(cases):
        drawn = _terms(random)
        entries = [_entry(random) for _ in range(each)]
        payouts = compute_payouts(drawn, entries).amounts
        terms += [drawn.budget, drawn.improvement_nanos, drawn.target_nanos, drawn.floor_bps, drawn.cap_bps]
        terms += [drawn.base_bps, int(drawn.scored)]
        for i, entry in enumerate(entries):
            leaves += [i + 1, 1 if entry.accepted else 2, entry.score_nanos, 0, entry.discount_bps, 0]
        expected += payouts
        seen["cases"] += 1
        seen["nobody earns"] += not any(entry.earns for entry in entries)
        seen["not scored"] += not drawn.scored
        scores = [entry.score_nanos for entry in entries if entry.earns]
        seen["equal scores"] += len(set(scores)) < len(scores)
        seen["nothing released"] += drawn.scored and drawn.target_nanos > 0 and drawn.improvement_nanos <= 0
    found = harness.payouts(words(terms), words(leaves), cases, each)
    assert found == expected, next((i, a, b) for i, (a, b) in enumerate(zip(found, expected, strict=True)) if a != b)
    return seen


def _terms(random: np.random.Generator) -> PayoutTerms:
    budget = int(random.integers(0, 2**62)) >> int(random.integers(0, 62))
    if random.random() < 0.3:
        budget = budget << 34
    target = 0 if random.random() < 0.3 else int(random.integers(1, 2**62)) >> int(random.integers(0, 62))
    improvement = int(random.integers(-(2**62), 2**62)) >> int(random.integers(0, 62))
    floor, cap, base = (int(random.choice((0, 1, 500, 3_333, 10_000))) for _ in range(3))
    return PayoutTerms(budget, improvement, target, floor, cap, bool(random.random() < 0.8), base)


def _entry(random: np.random.Generator) -> PayoutEntry:
    score = int(random.choice(SCORES)) if random.random() < 0.5 else int(random.integers(-(10**9), 10**10))
    discount = DISCOUNTS[int(random.integers(len(DISCOUNTS)))]
    return PayoutEntry(bool(random.random() < 0.8), score, discount)


def step_batch(random: np.random.Generator, harness: Harness, cases: int) -> Counter[str]:
    """One step of so many elements. Raises AssertionError where the sides differ."""
    section = SECTIONS[int(random.integers(len(SECTIONS)))]
    row = constants_table(section, STEPS)
    step, optimizer, slots = int(random.integers(STEPS)), optimizer_id(section), slots_of(section)
    scale = np.float32(1.0) if random.random() < 0.5 else np.float32(random.random())
    kind = random.integers(0, 3, cases)
    values = [_floats(random, kind) for _ in range(4)]
    values[2] = np.abs(values[2])
    state = {name: torch.from_numpy(values[i]) for i, name in enumerate(("theta", "m", "v")) if name in slots}
    made = update(optimizer, constants_of(row, step), state, torch.from_numpy(values[3]), float(scale))
    elements = np.stack([value.view(np.uint32) for value in values], axis=1)
    constants = [int(value) for value in row[step, :11].view(np.uint32)]
    packed = np.zeros((cases, 4, 8), dtype=">u4")
    packed[:, :, 7] = elements
    numbers = harness.steps(optimizer, constants, int(scale.view(np.uint32)), packed.tobytes())
    found = np.array(numbers, dtype=np.uint32).reshape(cases, 3)
    seen = Counter({"cases": cases, section.name: cases})
    for i, name in enumerate(("theta", "m", "v")):
        if name not in slots:
            continue
        expected = made[name].numpy()
        same = (found[:, i] == expected.view(np.uint32)) | (np.isnan(expected) & np.isnan(found[:, i].view(np.float32)))
        assert same.all(), (section.name, name, elements[~same][0].tolist(), found[~same][0].tolist())
        seen["result infinite or NaN"] += int((~np.isfinite(expected)).sum())
        seen["result subnormal"] += int(((expected != 0) & (np.abs(expected) < np.finfo(np.float32).tiny)).sum())
    return seen


def _floats(random: np.random.Generator, kind: NDArray[np.int64]) -> NDArray[np.float32]:
    """By kind: any finite bit pattern, the size that training meets, subnormals. One in ten of any is zero."""
    pattern = random.integers(0, 2**32, len(kind), dtype=np.uint32)
    subnormal = (pattern & 0x807FFFFF).astype(np.uint32)
    wild = np.where((pattern >> 23) & 0xFF == 0xFF, subnormal, pattern).astype(np.uint32)
    tame = random.standard_normal(len(kind)).astype(np.float32) * np.float32(0.1)
    chosen = np.choose(kind, [wild.view(np.float32), tame, subnormal.view(np.float32)])
    return np.where(random.random(len(kind)) < 0.1, np.float32(0), chosen).astype(np.float32)
