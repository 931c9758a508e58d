"""The benchmark's short profile runs, and takes game files."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.incentives.table_games import averaged

ROOT = Path(__file__).resolve().parents[2]


def test_scoring_benchmark_short_profile_measures_suite_and_game_files(tmp_path):
    pytest.importorskip("sklearn")
    np.savez(tmp_path / "lora round.npz", values=averaged(10, 0).values, weights=np.ones(10))
    command = [sys.executable, "-m", "benchmarks.scoring", "--profile", "short", "--no-peers"]
    outputs = ["--out", str(tmp_path / "s.json"), "--page", str(tmp_path / "s.md")]
    subprocess.run([*command, "--games", str(tmp_path / "lora round.npz"), *outputs], cwd=ROOT, check=True, timeout=300)
    figures = json.loads((tmp_path / "s.json").read_text())["figures"]
    at_20 = {f["game"]: f for f in figures if f["method"] == "auto" and f["budget_per_player"] == 20}
    assert {"lora round", "digits log-loss", "digits accuracy", "saturating", "majority vote"} <= set(at_20)
    for game in ("lora round", "digits log-loss", "digits accuracy", "saturating"):
        assert at_20[game]["error"] < 0.06
        assert at_20[game]["coverage"] >= 0.8
    assert "| lora round |" in (tmp_path / "s.md").read_text()
