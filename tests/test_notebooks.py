"""The notebooks run, cell after cell, against a private chain: what `docs/notebooks` shows is what happens."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deltaproof.api.local import deploy_demo
from deltaproof.chain.local_node import start_node

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "notebooks"
SECONDS = 600.0


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """A folder to work in, and what `chain up --contracts` tells to set."""
    folder = tmp_path
    with start_node("anvil", block_time_seconds=1) as node:
        deployment = deploy_demo(node.rpc_url, node.private_keys)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DELTAPROOF_")}
        yield (
            folder,
            kept
            | {
                "DELTAPROOF_RPC": node.rpc_url,
                "DELTAPROOF_CONTRACT": str(deployment.modules.tasks),
                "DELTAPROOF_STORE": str(folder / "store"),
                "DELTAPROOF_STATE": str(folder / "state"),
                "PYTHONPATH": str(FOLDER.parents[1]),
                "HF_HUB_OFFLINE": "1",
            },
        )


def code_of(name: str) -> str:
    """The cells of a notebook as one program."""
    cells = json.loads((FOLDER / f"{name}.ipynb").read_text("utf-8"))["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


def test_notebooks_fund_train_and_audit(place: tuple[Path, dict[str, str]]) -> None:
    """One after the other in one process: the audit looks at the first one's task."""
    folder, environment = place
    names = ("fund_and_watch", "train_with_peft", "audit_and_plot")
    codes = {name: code_of(name) for name in names}
    program = f"""for name, code in {codes!r}.items():
    print("= " + name)
    exec(compile(code, name, "exec"), {{"__name__": name}})"""
    finished = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, env=environment, capture_output=True, text=True,
        timeout=SECONDS, check=False,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stdout + finished.stderr
    watched, trained, audited = re.split(r"^= \w+$", finished.stdout, flags=re.MULTILINE)[1:]
    assert "round-ended | round 1 of 1 settled" in watched
    assert "base_model" in watched
    assert "'joined', 'committed', 'revealed'" in trained
    assert "2 tasks" in audited
    assert (folder / "history.png").is_file()


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.ipynb")))
def test_notebook_is_kept_without_outputs(name: str) -> None:
    cells = json.loads((FOLDER / f"{name}.ipynb").read_text("utf-8"))["cells"]
    assert not [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")]
