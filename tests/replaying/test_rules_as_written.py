"""docs/protocol/verdicts.md formula by formula, in plain Python, against the code that judges."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pytest
from numpy.typing import NDArray

from deltaproof.protocol.evidence.state import Layout
from deltaproof.protocol.rules import NOISE_FLOOR, ROUNDING_MARGIN, STEADY_SHARE, TIE_NOISE, TIE_STEP
from deltaproof.protocol.terms.spec import TrainingSection
from deltaproof.replaying.comparison import compare_bounded, compare_exact
from deltaproof.replaying.drift import DriftSample, judge_drift, noise_steps
from deltaproof.tuning.training.workbench import RowNorms

LAYOUT = Layout.of({"a": (3, 4), "b": (5,), "c": (2, 2)})
TRAINING = TrainingSection(
    steps=9, batch_size=4, numeric="bounded", bound_tensor=2e-3, bound_total=1e-3, bound_floor=0.05, drift_sigmas=4.0
)
Wide = NDArray[np.float64]


def norm(values: Iterable[float]) -> float:
    return math.sqrt(math.fsum(value * value for value in values))


def rms(values: Iterable[float]) -> float:
    listed = list(values)
    return norm(listed) / math.sqrt(len(listed)) if listed else 0.0


def places() -> list[tuple[str, range]]:
    return [(name, range(where.start, where.stop)) for name, where in LAYOUT.slices.items()]


def gradients(seed: int) -> tuple[np.random.Generator, Wide]:
    """Random gradients whose tensors differ in size by orders of magnitude."""
    draw = np.random.default_rng(seed)
    h = draw.standard_normal(LAYOUT.size)
    for (_, where), size in zip(places(), (1.0, 1e-2, 1e-4), strict=True):
        h[where.start : where.stop] *= size
    return draw, h


@pytest.mark.parametrize("seed", range(30))
def test_exact_mode_allows_near_ties_as_written(seed: int) -> None:
    draw, h = gradients(seed)
    middles = (np.float32(h).astype(np.float64) + np.nextafter(np.float32(h), np.float32(2)).astype(np.float64)) / 2
    tied = draw.random(LAYOUT.size) < 0.3
    # Some within what noise explains, some beyond: from a tenth of the tolerance to ten times of it.
    whole = rms(h)
    h = np.where(tied, middles + whole * TIE_NOISE * 10.0 ** draw.uniform(-1, 1, LAYOUT.size), h)
    g = np.where(tied & (draw.random(LAYOUT.size) < 0.8), np.float32(middles), np.float32(h)).astype(np.float32)
    stride = 10.0 ** draw.uniform(-9, 0, LAYOUT.size) if seed % 2 else None
    rounding = whole * TIE_NOISE * 10.0 ** draw.uniform(-3, 0, LAYOUT.size) if seed % 3 else None

    agrees, ties = True, 0
    for _, where in places():
        scale = max(rms(h), rms(h[i] for i in where))
        for i in where:
            if g[i] == np.float32(h[i]):
                continue
            ties += 1
            allowed = max(TIE_NOISE * scale, 0.0 if rounding is None else ROUNDING_MARGIN * rounding[i])
            allowed = allowed if stride is None else min(allowed, TIE_STEP * stride[i])
            step = max(float(np.spacing(abs(g[i]))), float(np.spacing(abs(np.float32(h[i])))))
            agrees &= abs(float(g[i]) - h[i]) - step / 2 <= allowed
    found = compare_exact(g, h, LAYOUT, stride, rounding)
    assert (found.agrees, found.near_ties) == (agrees, ties)


@pytest.mark.parametrize("seed", range(30))
def test_bounded_mode_allows_differences_as_written(seed: int) -> None:
    draw, h = gradients(seed)
    if seed % 5 == 0:
        h[LAYOUT.slices["b"]] = 0.0  # a tensor without gradient
    push = 10.0 ** draw.uniform(-4, -2)
    g = (h * (1 + push * draw.standard_normal(LAYOUT.size))).astype(np.float32)
    if seed % 10 == 0:
        g[LAYOUT.slices["b"].start] = 1e-9
    rows = RowNorms(2 * norm(h), {name: 0.3 * norm(h) for name, _ in places()}) if seed % 3 else None
    rounding = RowNorms(1e-5, {name: 1e-7 for name, _ in places()}) if seed % 2 else None

    def within(difference: float, bound: float, scale: float, explained: float) -> bool:
        return difference <= max(bound * scale, ROUNDING_MARGIN * explained)

    d = g.astype(np.float64) - h
    whole = max(norm(h), rows.whole if rows else 0.0)
    agrees = within(norm(d), TRAINING.bound_total, whole, rounding.whole if rounding else 0.0)
    for name, where in places():
        own = norm(h[i] for i in where)
        scale = max(own, TRAINING.bound_floor * whole if own else 0.0, rows.tensors[name] if rows else 0.0)
        explained = rounding.tensors[name] if rounding else 0.0
        agrees &= within(norm(d[i] for i in where), TRAINING.bound_tensor, scale, explained)
    assert compare_bounded(g, h, LAYOUT, TRAINING, rows, rounding).agrees is agrees


@pytest.mark.parametrize("seed", range(30))
def test_drift_is_measured_as_written(seed: int) -> None:
    draw, h0 = gradients(seed)
    count = 2 + seed % 5
    lean = draw.standard_normal(LAYOUT.size) * 10.0 ** draw.uniform(-5, -3)
    if seed % 4 == 1:  # a push on small values, which drowns in the noise of the raw gradient
        lean = np.where(np.arange(LAYOUT.size) >= LAYOUT.slices["c"].start, 100 * lean, 0.0)
    hs = [h0 * draw.uniform(0.5, 2) for _ in range(count)]
    ds = [(lean * abs(h0) + 1e-5 * draw.standard_normal(LAYOUT.size)).astype(np.float32) for _ in range(count)]
    gs = [(h + d).astype(np.float32) for h, d in zip(hs, ds, strict=True)]
    noisy = sorted({0, count // 2, count - 1})
    zs = {k: 1e-5 * draw.standard_normal(LAYOUT.size) for k in noisy}
    strides = [abs(h) + 1e-6 for h in hs] if seed % 2 else None
    samples = [DriftSample.of(gs[k], hs[k], zs.get(k), LAYOUT, strides[k] if strides else None) for k in range(count)]

    ds = [(g - h).astype(np.float32) for g, h in zip(gs, hs, strict=True)]
    a = 1 + TRAINING.drift_sigmas / math.sqrt(count)
    sizes = worst(a, ds, [zs[k] for k in noisy], hs, [hs[k] for k in noisy])
    limit = a * max(rms_of_norms(zs.values()), STEADY_SHARE * TRAINING.bound_total * rms_of_norms(hs))
    along = abs(math.fsum(float(np.dot(g - h, h)) / norm(h) for g, h in zip(gs, hs, strict=True))) / count
    sizes.append(along / limit)
    if strides:
        mean = np.sqrt(np.mean([np.float32(s).astype(np.float64) ** 2 for s in strides], axis=0))
        ones = [np.ones(LAYOUT.size)] * len(noisy)  # an honest gradient makes one step of each value
        sizes += worst(a, [d / mean for d in ds], [np.float32(zs[k]) / mean for k in noisy], ones, ones)
    verdict = judge_drift(samples, TRAINING, LAYOUT)
    assert verdict.magnitude == pytest.approx(max(sizes), rel=1e-6)
    assert verdict.accepted is (max(sizes) <= 1.0)


def rms_of_norms(vectors: Iterable[Wide]) -> float:
    return rms(norm(vector) for vector in vectors)


def worst(a: float, ds: list[Wide], zs: list[Wide], hs: list[Wide], at: list[Wide]) -> list[float]:
    """Steady as a whole and in each tensor, as shares of their limits; `at` are the gradients of the steps of `zs`."""
    n = rms_of_norms(zs)
    shares = [steady(ds) / (a * max(n, STEADY_SHARE * TRAINING.bound_total * rms_of_norms(hs)))]
    for _, where in places():
        part = slice(where.start, where.stop)
        measured = [z[part] for z, h in zip(zs, at, strict=True) if any(h[part])]
        floor = NOISE_FLOOR * n * math.sqrt(len(where) / LAYOUT.size)
        honest = STEADY_SHARE * TRAINING.bound_tensor * rms_of_norms(h[part] for h in hs)
        shares.append(steady([d[part] for d in ds]) / (a * max(rms_of_norms(measured), floor, honest)))
    return shares


def steady(ds: list[Wide]) -> float:
    """Root of the mean inner product of all pairs of different steps, which is the formula of the page."""
    pairs = [float(np.dot(ds[i], ds[j])) for i in range(len(ds)) for j in range(len(ds)) if i != j]
    return math.sqrt(max(math.fsum(pairs) / len(pairs), 0.0)) if pairs else 0.0


@pytest.mark.parametrize("count", range(1, 9))
def test_noise_is_measured_on_the_first_middle_and_last_step(count: int) -> None:
    steps = [3 * k + 1 for k in range(count)]
    assert noise_steps(steps) == {steps[0], steps[math.floor(count / 2)], steps[-1]}
