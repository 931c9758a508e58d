"""Run the brownie tests of ``tests/contracts`` on a private chain.

``python scripts/contract_tests.py [--network anvil|ganache] [arguments of brownie test ...]``

The chain listens on a free port and brownie gets a home of its own for the run, so that neither a chain that happens to
listen on the usual port nor the user's brownie settings and accounts take part.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
BLOCK_GAS_LIMIT = 30_000_000


def main(arguments: list[str]) -> int:
    """The exit status of ``brownie test``."""
    parser = argparse.ArgumentParser(description="brownie tests on a private chain")
    parser.add_argument("--network", choices=("anvil", "ganache"), default="anvil")
    options, for_brownie = parser.parse_known_args(arguments)
    with tempfile.TemporaryDirectory(prefix="deltaproof-brownie-") as home:
        settings = Path(home, ".brownie", "network-config.yaml")
        settings.parent.mkdir()
        settings.write_text(yaml.safe_dump({"development": networks(free_port()), "live": []}))
        environment = os.environ | {"HOME": home}
        drop_stale_builds()
        command = [
            REPOSITORY / ".venv/bin/brownie",
            "test",
            "tests/contracts",
            "--network",
            options.network,
            *for_brownie,
        ]
        return subprocess.run(command, cwd=REPOSITORY, env=environment, check=False).returncode


def drop_stale_builds() -> None:
    """Brownie cannot load what it once compiled from a file that is gone."""
    for build in (REPOSITORY / "build/brownie/contracts").glob("*.json"):
        sources = json.loads(build.read_text()).get("allSourcePaths") or {}
        if not all((REPOSITORY / source).is_file() for source in sources.values()):
            build.unlink()


def networks(port: int) -> list[dict[str, Any]]:
    """brownie's description of both local chains, by the same rules: 20 funded accounts, one block per transaction."""
    common = {"port": port, "accounts": 20, "gas_limit": BLOCK_GAS_LIMIT, "chain_id": 31337}
    host = "http://127.0.0.1"
    anvil = {"name": "Anvil", "id": "anvil", "cmd": "anvil", "host": host, "cmd_settings": common | {"base_fee": 0}}
    # Brownie never reads what the chain prints: unless it is quiet, Ganache fills the pipe and stops.
    ganache = {"name": "Ganache", "id": "ganache", "cmd": "ganache --logging.quiet", "host": host}
    ganache["cmd_settings"] = common | {"evm_version": "merge"}
    return [anvil, ganache]


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
