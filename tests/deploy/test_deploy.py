"""What lies in deploy/ fits the program: command lines parse, metrics are exported, files and names exist.

Docker is not needed. What the image does is done without it by `scripts/check_wheel.py`: the wheel is installed into an
environment of its own, and a task played there under the settings of the Dockerfile.
"""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import generate_latest

from deltaproof.agent.watching import Observed
from deltaproof.cli.commands import command_of
from deltaproof.extras import EXTRA_OF
from deltaproof.pages.metrics import IndexMetrics
from scripts.check_wheel import image_settings
from tests.cli.test_events_page import told_by_code
from tests.test_architecture import REPOSITORY
from tests.worlds.roles import silent

DEPLOY = REPOSITORY / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
PROGRAM = "/opt/deltaproof/venv/bin/deltaproof"
DIRECTIVES = {
    "Unit": {"Description", "Wants", "After"},
    "Service": {
        "EnvironmentFile", "Environment", "ExecStart", "Restart", "RestartSec", "KillSignal", "SuccessExitStatus",
        "DynamicUser", "StateDirectory", "ProtectSystem", "ProtectHome", "PrivateTmp", "NoNewPrivileges", "MemoryMax",
    },
    "Install": {"WantedBy"},
}  # fmt: skip


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return loaded


def ours() -> dict[str, dict[str, Any]]:
    return {name: service for name, service in compose()["services"].items() if service["image"] == "deltaproof"}


def unit(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(path.read_text())
    return parser


def command_lines() -> Iterator[tuple[str, list[str]]]:
    for name, service in ours().items():
        yield f"compose {name}", shlex.split(service["command"])
    for path in UNITS:
        program, *arguments = shlex.split(unit(path)["Service"]["ExecStart"])
        assert program == PROGRAM
        yield path.name, arguments


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The environment that role.env.example gives; a folder for files that command lines name."""
    lines = (DEPLOY / "role.env.example").read_text().splitlines()
    pairs = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    pairs["DELTAPROOF_HOME"] = str(tmp_path)
    for name, value in pairs.items():
        monkeypatch.setenv(name, value)
    return tmp_path


@pytest.mark.parametrize(("where", "line"), list(command_lines()), ids=[where for where, _ in command_lines()])
def test_command_line_parses_with_the_program_and_the_settings_of_the_example(
    settings: Path, where: str, line: list[str]
) -> None:
    known = [str(settings / Path(word).name) if word.startswith("/var/lib/deltaproof") else word for word in line]
    (settings / "rows.jsonl").write_text("{}\n")
    context = parsed(command_of(known[0]), known[0], known[1:])
    assert not context.args, f"{where}: {context.args} means nothing"
    if "contract" in context.params:
        assert context.params["contract"] == "0x" + 40 * "0", "the settings are read"


def test_every_option_of_a_role_has_a_variable() -> None:
    """docs/operating.md, "As a service": what a role is told can stand in its file of settings."""
    once = {"as_json", "once", "dry_run", "help"}
    roles = [command_of(name).commands["run"] for name in ("sponsor", "trainer", "verifier")]
    for command in (*roles, command_of("watch")):
        without = {option.name for option in command.params if not option.envvar}
        assert not without - once, f"{command.name}: {sorted(without - once)}"


def test_command_lines_say_nothing_that_settings_should() -> None:
    """An option goes before a variable: what stands there, the file of settings could not change."""
    fixed = {"--data", "--health-port", "--home", "--host", "--index", "--port"}
    for where, line in command_lines():
        assert {word for word in line if word.startswith("--")} <= fixed, where


def parsed(command: Any, name: str, arguments: list[str], parent: Any = None) -> Any:
    """Click's context of the innermost command. Raises UsageError of click for a line that does not parse."""
    context = command.make_context(name, list(arguments), parent=parent)
    rest = [*getattr(context, "_protected_args", []), *context.args]
    if not hasattr(command, "resolve_command"):
        return context
    inner_name, inner, rest = command.resolve_command(context, rest)
    return parsed(inner, inner_name, rest, context)


def test_command_line_that_does_not_parse_is_noticed(settings: Path) -> None:
    for line in (["trainer", "run"], ["verifier", "run", "--no-such-option"], ["watch", "--poll", "never"]):
        with pytest.raises(Exception, match=r"Missing parameter: data|No such option|a valid number"):
            parsed(command_of(line[0]), line[0], line[1:])


def test_compose_names_only_what_it_has() -> None:
    content = compose()
    assert set(ours()) == {"trainer", "verifier", "sponsor", "watch", "store", "pages"}
    for name, service in content["services"].items():
        assert service["profiles"], f"{name} would start unasked"
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in content["volumes"] or (DEPLOY / source).is_file(), f"{name}: {source}"
        if service["image"] != "deltaproof":
            assert re.fullmatch(r"[\w/]+:v?\d+\.\d+\.\d+", service["image"]), "another image would come unasked"


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_unit_has_known_directives_and_restarts_what_it_may(path: Path, tmp_path: Path) -> None:
    found = unit(path)
    assert found.sections() == list(DIRECTIVES)
    assert not [key for name in found.sections() for key in found[name] if key not in DIRECTIVES[name]]
    role = path.stem.removeprefix("deltaproof-")
    assert found["Service"]["EnvironmentFile"] == f"/etc/deltaproof/{role}.env"
    assert found["Service"]["StateDirectory"] == f"deltaproof-{role}"
    analyze = shutil.which("systemd-analyze")
    if analyze is not None:
        here = tmp_path / path.name
        here.write_text(path.read_text().replace(PROGRAM, shutil.which("true") or "/bin/true"))
        checked = subprocess.run([analyze, "verify", here], capture_output=True, text=True, check=False)
        assert path.name not in checked.stderr, checked.stderr


def test_board_shows_only_metrics_events_and_labels_that_roles_export(tmp_path: Path) -> None:
    observed, moment = Observed(silent, "trainer", tmp_path), dict.fromkeys(("block", "round", "phase_number"), 1)
    moment |= {"task": 1, "account": "0x", "phase": "commit", "deadline": 0, "seconds_left": 0, "at_stake": ""}
    observed.looked(moment)
    observed.counted_call("eth_call", answered=True)
    observed("paid", "")
    exported = (generate_latest(observed.registry) + IndexMetrics().text()).decode()
    names = set(re.findall(r"^(deltaproof_\w+?)(?:\{| )", exported, flags=re.MULTILINE))
    board = json.loads((DEPLOY / "grafana" / "deltaproof.json").read_text())
    used = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    shown = {name for expression in used for name in re.findall(r"deltaproof_\w+", expression)}
    assert shown <= names, "nobody exports these"
    assert names - shown <= {name for name in names if name.startswith("deltaproof_index_") or "_created" in name}
    events = {event for text in used for found in re.findall(r'event=~"([^"]+)"', text) for event in found.split("|")}
    assert events <= set(told_by_code())
    labels = {
        label for expression in used for part in re.findall(r"by \(([^)]*)\)", expression) for label in part.split(", ")
    }
    assert labels <= {"role", "event", "task", "method", "answered"}


def test_prometheus_looks_where_roles_and_pages_answer() -> None:
    (job,) = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"]
    (targets,) = (config["targets"] for config in job["static_configs"])
    lines = " ".join(" ".join(line) for _, line in command_lines())
    ports = set(re.findall(r"--(?:health-)?port (\d+)", lines))
    assert {target.removeprefix("127.0.0.1:") for target in targets} == ports
    (source,) = yaml.safe_load((DEPLOY / "grafana" / "datasource.yaml").read_text())["datasources"]
    board = json.loads((DEPLOY / "grafana" / "deltaproof.json").read_text())
    assert {panel["datasource"]["uid"] for panel in board["panels"]} == {source["uid"]}
    (provider,) = yaml.safe_load((DEPLOY / "grafana" / "boards.yaml").read_text())["providers"]
    assert any(provider["options"]["path"] in volume for volume in compose()["services"]["grafana"]["volumes"])


def test_image_is_made_of_what_the_repository_has(tmp_path: Path) -> None:
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line.split(None, 1) for line in text.splitlines() if line and not line.startswith("#")]
    assert {word for word, _ in lines} <= {
        "FROM", "COPY", "RUN", "ENV", "USER", "WORKDIR", "VOLUME", "STOPSIGNAL", "ENTRYPOINT", "CMD",
    }  # fmt: skip
    (copied,) = (rest.split()[:-1] for word, rest in lines if word == "COPY")
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    for source in copied:
        assert any(source.startswith(line[1:]) for line in ignored if line.startswith("!")), f"{source} is not sent"
    assert (REPOSITORY / copied[0]).is_file()
    assert copied[1:] == ["build/wheel/*.whl"], "what `make wheel` builds"
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    (extras,) = re.findall(r"\*\.whl\)\[([\w,]+)\]", text)
    assert set(extras.split(",")) <= set(project["optional-dependencies"]) & set(EXTRA_OF.values())
    (entry,) = (json.loads(rest) for word, rest in lines if word == "ENTRYPOINT")
    assert entry == ["deltaproof"]
    assert entry[0] in project["scripts"]
    moved = image_settings(tmp_path)
    assert moved["DELTAPROOF_HOME"] == str(tmp_path / "home")
    assert all(Path(value).is_relative_to(tmp_path) for value in moved.values())
