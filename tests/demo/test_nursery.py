"""Commands that are forked from a process with their libraries loaded end, fail and are ended as others do."""

from __future__ import annotations

import json
import os
import signal
from multiprocessing import forkserver
from pathlib import Path

import pytest

from deltaproof.demo import nursery as nursery_module
from deltaproof.demo.nursery import LIGHT, Nursery
from deltaproof.demo.processes import CommandError, Supervisor
from deltaproof.extras import LIBRARY_SETTINGS

PATIENCE = 240.0


@pytest.fixture(autouse=True)
def _no_libraries_loaded_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ran in this process before may have begun with another environment, as may the one that forks."""
    forkserver._forkserver._stop()
    monkeypatch.setattr(nursery_module, "_loading_with", None)


def test_forked_commands_have_their_own_environment_output_and_status(tmp_path: Path) -> None:
    with Supervisor(tmp_path / "logs", {"DELTAPROOF_STORE": str(tmp_path)}, preload=True) as commands:
        with pytest.raises(CommandError, match="DELTAPROOF_RPC"):
            commands.run("list", ["task", "list"], timeout=PATIENCE)
        away = {"DELTAPROOF_RPC": "http://127.0.0.1:9", "DELTAPROOF_CONTRACT": "0x" + "11" * 20}
        told = commands.run("list", ["task", "list"], timeout=PATIENCE, environment=away, may_fail=True)
    assert told["event"] == "error"
    assert "127.0.0.1:9" in str(told["message"])


def test_forked_command_is_a_group_of_its_own_that_ends_as_told() -> None:
    chain = Nursery(os.environ).start("deltaproof", ["chain", "up", "--json"], os.environ)
    assert b"forkserver" in Path(f"/proc/{chain.pid}/cmdline").read_bytes(), "it was forked"
    loaded_with = Path(f"/proc/{chain.pid}/environ").read_bytes().split(b"\0")
    assert b"HF_HUB_DISABLE_TELEMETRY=1" in loaded_with, "libraries are imported before the command can set it"
    assert json.loads(chain.stdout.readline())["event"] == "ready"
    assert os.getpgid(chain.pid) == chain.pid
    assert chain.poll() is None
    os.killpg(chain.pid, signal.SIGINT)
    assert chain.wait(PATIENCE) == chain.returncode == 130


def test_only_commands_with_the_libraries_environment_are_forked() -> None:
    here = dict(os.environ)
    nursery = Nursery(here)
    assert nursery.takes(["audit"], {**here, "DELTAPROOF_KEY": "0x1"})
    assert nursery.takes(["audit"], {**here, **LIBRARY_SETTINGS}), "as this process is once it was a command"
    assert not nursery.takes(["audit"], {**here, "HF_HUB_DISABLE_TELEMETRY": "0"}), "somebody wants another"
    assert not nursery.takes(["audit"], {**here, "HOME": "elsewhere"}), "caches are looked for at import"
    assert not any(nursery.takes([light], here) for light in LIGHT)
