"""What every call costs, measured on a private Anvil; writes docs/results/data/gas.json and docs/results/gas.md.

    python -m benchmarks.chain.gas           # measures and writes
    python -m benchmarks.chain.gas --render  # the page alone, from the figures that are there

Whole rounds are played with 3, 30 and 300 verifiers (real BLS signatures); claims come from trees of 10, 1,000 and
100,000 leaves. Fault proofs and disputes come from forge's gas report of their tests.
"""

from __future__ import annotations

import argparse
import json
import sys

from benchmarks.chain.gas.bench import Bench, anvil
from benchmarks.chain.gas.claims import LEAF_COUNTS, claims_together, patient_task
from benchmarks.chain.gas.others import code_sizes, ecrecover_gas, forge_gas
from benchmarks.chain.gas.page import Figures, render
from benchmarks.chain.gas.rounds import VERIFIER_COUNTS, measure_batch, measure_penalties, measure_rounds
from benchmarks.chain.gas.task import register, verifier_keys
from benchmarks.shared.places import FIGURES, PAGES


def main() -> int:
    """Measure, then write figures and page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chain.gas")
    parser.add_argument("--render", action="store_true", help="write the page from the figures that are there")
    if not parser.parse_args().render:
        (FIGURES / "gas.json").write_text(json.dumps(measure(), indent=1) + "\n")
    now, before = (json.loads((FIGURES / name).read_text()) for name in ("gas.json", "gas_v1.json"))
    report = render(Figures(**now), before)
    (PAGES / "gas.md").write_text(report)
    print(report)
    return 0


def measure() -> dict[str, object]:
    """All figures of the page."""
    with anvil() as url:
        bench = Bench(url)
        bench.deploy()
        keys = verifier_keys(max(VERIFIER_COUNTS))
        register(bench, keys)
        for leaves, verifiers in zip(LEAF_COUNTS, VERIFIER_COUNTS, strict=True):
            measure_rounds(bench, keys[:verifiers], leaves)
        measure_batch(bench, keys[0])
        claims_together(patient_task(bench, keys[0]))
        measure_penalties(bench, keys[0])
        ecrecover = ecrecover_gas(bench, VERIFIER_COUNTS)
    proofs = forge_gas()
    return {"calls": bench.gas, "ecrecover_loop": ecrecover, "proofs_and_disputes": proofs, "code": code_sizes()}


if __name__ == "__main__":
    sys.exit(main())
