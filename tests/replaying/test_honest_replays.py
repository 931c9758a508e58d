"""The benchmark of honest replays, its short part: a real model, trained and judged as on two machines."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_short_part_raises_no_false_alarm(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks.replay.honest", "--parts", "short", "--work", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "6 replays" in result.stdout
    assert "**0 refused**" in result.stdout
