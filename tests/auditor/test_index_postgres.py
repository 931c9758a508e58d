"""The same index in a real PostgreSQL, which this test sets up and ends."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deltaproof.auditor.audit.case import AuditOptions
from deltaproof.auditor.auditing import AuditSource, run_audit
from deltaproof.auditor.history import Historian
from deltaproof.auditor.index.follower import Follower
from deltaproof.auditor.index.reader import Index
from deltaproof.auditor.index.schema import open_database
from deltaproof.auditor.session import open_index
from tests.auditor.test_index import rows_of
from tests.worlds.roles import RoleWorld


def _binaries() -> Path | None:
    """Folder of initdb and postgres, installed from Debian's packages if this is allowed here."""
    if (found := _installed()) is None and os.geteuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "-y", "--no-install-recommends", "postgresql"]):
            subprocess.run(["apt-get", "-qq", *command], check=False, capture_output=True, env=environment, timeout=300)
        found = _installed()
    return found


def _installed() -> Path | None:
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    on_path = shutil.which("initdb")
    folders += [Path(on_path).resolve().parent] if on_path else []
    return next((folder for folder in folders if (folder / "initdb").exists() and (folder / "postgres").exists()), None)


@pytest.fixture(scope="module")
def postgres_url() -> Iterator[str]:
    binaries = _binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed, and only root may install it: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="deltaproof-pg-"))
    owner = "postgres" if os.geteuid() == 0 else None  # the server refuses to run as root
    if owner:
        shutil.chown(folder, owner)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data, log = folder / "data", folder / "log"
    command = [str(binaries / "initdb"), "-D", str(data), "-U", "auditor", "-A", "trust", "--no-sync"]
    subprocess.run(command, check=True, capture_output=True, cwd=folder, timeout=120, user=owner)
    options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={folder} -c fsync=off"
    control = [str(binaries / "pg_ctl"), "-D", str(data), "-w"]
    _quiet([*control, "-l", str(log), "-o", options, "start"], folder, owner)
    yield f"postgresql+psycopg://auditor@127.0.0.1:{port}/postgres"
    _quiet([*control, "-m", "immediate", "stop"], folder, owner)
    shutil.rmtree(folder)


def _quiet(command: list[str], folder: Path, owner: str | None) -> None:
    """Without pipes: pg_ctl's child keeps them open, so that they would never end."""
    nowhere = subprocess.DEVNULL
    subprocess.run(command, check=True, cwd=folder, timeout=120, stdout=nowhere, stderr=nowhere, user=owner)


def test_index_postgres_same_rows_history_and_audit_as_sqlite(world: RoleWorld, postgres_url: str) -> None:
    engine = open_database(postgres_url)
    Follower(engine, world.rpc, world.contract, range_blocks=20).sync()
    local, _ = open_index(world.rpc, world.contract)
    assert rows_of(engine) == rows_of(local.engine)

    remote = Index(engine)
    assert Historian(remote, world.store).history() == Historian(local, world.store).history()
    report = run_audit(AuditSource(remote, world.store, world.rpc), AuditOptions(replays=0))
    assert report.passed
    engine.dispose()
