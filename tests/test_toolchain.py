"""The tools agree with each other: one compiler, one set of settings, locked packages."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
COMPILER = REPOSITORY / "scripts" / "solc" / "solc-v0.8.37"
NODE = REPOSITORY / ".venv" / "bin" / "node"

COUNTER = """// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;
import {Context} from "@openzeppelin/contracts/utils/Context.sol";
contract Counter is Context { uint256 public count; function add() external { ++count; } }
"""
REMAPPING = "@openzeppelin/contracts=node_modules/@openzeppelin/contracts"


def run_compiler(*arguments: str, request: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [COMPILER, *arguments]
    return subprocess.run(command, input=request, capture_output=True, text=True, cwd=REPOSITORY, check=False)


def test_compiler_version_is_that_of_the_npm_package() -> None:
    script = "process.stdout.write(require('./node_modules/solc').version())"
    inside = subprocess.run([NODE, "-e", script], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert run_compiler("--version").stdout.splitlines()[-1] == f"Version: {inside}"


def test_compiler_standard_json_resolves_imports_from_disk() -> None:
    request = {
        "language": "Solidity",
        "sources": {"Counter.sol": {"content": COUNTER}},
        "settings": {"remappings": [REMAPPING], "outputSelection": {"*": {"*": ["evm.methodIdentifiers"]}}},
    }
    finished = run_compiler("--standard-json", "--allow-paths", ".", request=json.dumps(request))
    identifiers = json.loads(finished.stdout)["contracts"]["Counter.sol"]["Counter"]["evm"]["methodIdentifiers"]
    assert identifiers == {"add()": "4f2be91f", "count()": "06661abd"}


def test_compiler_combined_json_has_what_slither_reads(tmp_path: Path) -> None:
    source = tmp_path / "Counter.sol"
    source.write_text(COUNTER)
    finished = run_compiler(REMAPPING, "--combined-json", "abi,ast,bin,bin-runtime,srcmap,srcmap-runtime", str(source))
    answer = json.loads(finished.stdout)
    made = answer["contracts"][f"{source}:Counter"]
    assert {item["name"] for item in made["abi"]} == {"add", "count"}
    assert made["bin"].endswith(made["bin-runtime"])
    assert answer["sources"][str(source)]["AST"]["nodeType"] == "SourceUnit"
    assert set(answer["sourceList"]) == set(answer["sources"])


@pytest.mark.parametrize("arguments", [("--bin", "x.sol"), ()], ids=["unknown-option", "nothing"])
def test_compiler_refuses_what_it_cannot_do(arguments: tuple[str, ...]) -> None:
    finished = run_compiler(*arguments, request="")
    assert finished.returncode == 2
    assert "only --version, --standard-json and --combined-json" in finished.stderr


def test_compiler_broken_source_exits_with_its_message(tmp_path: Path) -> None:
    source = tmp_path / "Broken.sol"
    source.write_text("pragma solidity 0.8.37; contract Broken { uint256 }")
    finished = run_compiler("--combined-json", "abi", str(source))
    assert finished.returncode == 1
    assert "ParserError" in finished.stderr


def test_brownie_and_forge_compile_with_the_same_settings() -> None:
    brownie = yaml.safe_load((REPOSITORY / "brownie-config.yaml").read_text())["compiler"]
    forge = tomllib.loads((REPOSITORY / "foundry.toml").read_text())["profile"]["default"]
    assert brownie["evm_version"] == forge["evm_version"]
    assert brownie["solc"]["optimizer"] == {"enabled": forge["optimizer"], "runs": forge["optimizer_runs"]}
    assert brownie["solc"].get("viaIR", False) == forge.get("via_ir", False)
    assert [f"{r.rstrip('/')}" for r in brownie["solc"]["remappings"]] == [
        re.sub(r"/(?==|$)", "", r) for r in forge["remappings"]
    ]
    assert COMPILER.name == f"solc-v{brownie['solc']['version']}"
    assert forge["solc"] == COMPILER.relative_to(REPOSITORY).as_posix()


def test_lock_files_pin_every_package() -> None:
    for name in ("requirements.lock", "requirements-docs.lock", "requirements-models.lock"):
        lines = [line for line in (REPOSITORY / name).read_text().splitlines() if line and not line.startswith("#")]
        assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+", line)] == []
    assert "torch==2.13.0" in (REPOSITORY / "requirements.lock").read_text().splitlines()


def test_npm_lock_has_integrity_and_no_host() -> None:
    packages = json.loads((REPOSITORY / "package-lock.json").read_text())["packages"]
    for path, package in packages.items():
        if path:  # the empty path is the project itself
            assert "resolved" not in package, path
            assert package.get("inBundle") or package["integrity"].startswith("sha512-"), path


def test_declared_pins_are_the_locked_ones() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    declared = project["dependencies"] + [r for extra in project["optional-dependencies"].values() for r in extra]
    locked = {
        re.sub(r"[-_.]+", "-", name).lower(): version
        for name, version in (
            line.split("==")
            for lock in ("requirements.lock", "requirements-docs.lock")
            for line in (REPOSITORY / lock).read_text().splitlines()
            if "==" in line and not line.startswith("#")
        )
    }
    for requirement in declared:
        name, _, version = requirement.partition("==")
        bare = re.sub(r"[-_.]+", "-", re.split(r"[\[><=]", name)[0]).lower()
        assert bare in locked, requirement
        assert version in ("", locked[bare]), requirement
