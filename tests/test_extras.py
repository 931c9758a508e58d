"""What an installation without extras says when something needs one: one line with the command that helps."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Callable
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from deltaproof.auditor.index.schema import open_database
from deltaproof.cli import main
from deltaproof.errors import DeltaproofError
from deltaproof.extras import EXTRA_OF, how_to_install, need
from deltaproof.store import open_store
from deltaproof.tuning.base_models.loading import resolve_source
from incentives.semivalues import RayMapper

REPOSITORY = Path(__file__).resolve().parents[1]


def test_every_module_is_brought_by_the_extra_that_is_named() -> None:
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    distributions = packages_distributions()
    for module, extra in EXTRA_OF.items():
        brought = {canonical(re.split(r"[\[><=]", requirement)[0]) for requirement in extras[extra]}
        assert brought & {canonical(name) for name in distributions[module]}, module


def canonical(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def test_modules_that_are_there_are_returned() -> None:
    assert need("json", "json.decoder") is sys.modules["json"]


def gguf_model(folder: Path) -> None:
    package = folder / "some_weights"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "weights.gguf").write_bytes(b"GGUF")
    sys.path.insert(0, str(folder))
    try:
        resolve_source("package:some_weights")
    finally:
        sys.path.remove(str(folder))


DOORS: dict[str, Callable[[Path], object]] = {
    "s3fs": lambda _: open_store("s3://bucket/prefix"),
    "psycopg": lambda _: open_database("postgresql+psycopg://nobody@localhost/none"),
    "ray": lambda _: RayMapper(),
    "gguf": gguf_model,
}


@pytest.mark.parametrize("module", DOORS)
def test_missing_library_is_named_in_one_line_with_the_command(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    # Where another test has opened a bucket, fsspec would not import s3fs again.
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(DeltaproofError) as raised:
        DOORS[module](tmp_path)
    message = str(raised.value)
    assert how_to_install(module) in message
    assert "\n" not in message


@pytest.mark.parametrize("module", ["uvicorn", "fastapi", "prometheus_client"])
def test_serve_without_its_libraries_says_what_to_install(
    module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(
        "sys.argv", ["deltaproof", "serve", "--rpc", "http://127.0.0.1:1", "--contract", "0x" + "11" * 20]
    )
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 1
    assert f"this needs {module}: pip install 'deltaproof[serve]'" in capsys.readouterr().err


def test_module_of_no_extra_is_a_fault_of_the_program() -> None:
    with pytest.raises(KeyError):
        need("no_such_library")
