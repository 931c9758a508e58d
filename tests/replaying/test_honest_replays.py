"""The benchmark of honest replays, its short part: a real model, trained and judged as on two machines."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.replay import honest


def test_short_part_raises_no_false_alarm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The machines are processes of their own."""
    monkeypatch.setattr("sys.argv", ["honest", "--parts", "short", "--work", str(tmp_path)])
    honest.main()
    told = capsys.readouterr().out
    assert "6 replays" in told
    assert "**0 refused**" in told
