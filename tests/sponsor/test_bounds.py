"""Calibrated bounds in a draft: nothing else in the file changes, and the largest of several runs stays."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from deltaproof.errors import UsageError
from deltaproof.sponsor.bounds import write_bounds

DRAFT = """# mine
[task]
name = "bound_total = 1"

[training]  # how
steps = 3
bound_total = 1e-5  # from the old machine
"""


def test_bounds_are_written_and_all_else_stays(tmp_path: Path) -> None:
    draft = tmp_path / "spec.toml"
    draft.write_text(DRAFT)
    both = {"bound_total": 3e-5, "bound_tensor": 2e-4}
    assert write_bounds(draft, both) == both
    text = draft.read_text()
    assert tomllib.loads(text)["training"] == {"steps": 3, **both}
    assert "# mine" in text
    assert "# from the old machine" in text
    assert write_bounds(draft, {"bound_total": 1e-6})["bound_total"] == 3e-5, "the largest stays"


@pytest.mark.parametrize("text", ["training = { steps = 3 }\n", 'training.steps = 3\n[task]\nname = "x"\n', "[task]\n"])
def test_table_that_cannot_be_edited_is_left_alone(text: str, tmp_path: Path) -> None:
    draft = tmp_path / "spec.toml"
    draft.write_text(text)
    with pytest.raises(UsageError, match=r"by hand"):
        write_bounds(draft, {"bound_total": 1e-5})
    assert draft.read_text() == text
