"""Models of a hub: downloaded once, at a commit, safetensors alone; and what is said when that cannot be."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants
from huggingface_hub.hf_api import RepoFile

from deltaproof.errors import SpecError
from deltaproof.protocol.terms.spec import parse_spec
from deltaproof.tuning import hub as hub_module
from deltaproof.tuning.base_models.digests import weights_digest
from deltaproof.tuning.base_models.loading import load_base, resolve_source
from deltaproof.tuning.base_models.presets import complete_spec, minimal_model
from deltaproof.tuning.errors import HubError, ModelError
from deltaproof.tuning.hub import HubPlace, list_files
from tests.worlds.hub import COMMIT, Hub, point_at, serve_hub

SOURCE = f"hub:some/model@{COMMIT}"


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return minimal_model(tmp_path_factory.mktemp("hub") / "model", "bert")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model_folder: Path) -> Iterator[Hub]:
    """A hub with one model, which a user without HF_HUB_OFFLINE asks, from an empty cache."""
    with serve_hub() as served:
        served.repositories["models/some/model"] = Path(shutil.copytree(model_folder, tmp_path / "repository"))
        point_at(served, tmp_path / "cache", monkeypatch)
        yield served


def test_model_of_a_hub_is_downloaded_once_and_checked_against_the_digest(hub: Hub, model_folder: Path) -> None:
    told: list[str] = []
    folder = resolve_source(SOURCE, lambda event, message, **fields: told.append(f"{event} {fields['total']}"))
    assert weights_digest(folder) == weights_digest(model_folder)
    size = sum(path.stat().st_size for path in folder.iterdir())
    assert told[0] == f"downloading {size}"
    asked = len(hub.asked)
    spec = complete_spec(SOURCE, "sequence-classification")
    load_base(spec.model, bytes(32), "float32")
    assert len(hub.asked) == asked, "a second look asked the hub"


def test_model_of_a_hub_with_other_weights_than_the_task_names_is_refused(hub: Hub, tmp_path: Path) -> None:
    spec = complete_spec(SOURCE, "sequence-classification")
    shutil.rmtree(tmp_path / "cache")
    config = hub.repositories["models/some/model"] / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "layer_norm_eps": 1e-3}))
    with pytest.raises(ModelError, match=r"has digest 0x.*; the task names"):
        load_base(spec.model, bytes(32), "float32")


def test_only_what_the_digest_covers_is_downloaded(hub: Hub) -> None:
    repository = hub.repositories["models/some/model"]
    (repository / "onnx").mkdir()
    for name in ("pytorch_model.bin", "modeling_evil.py", "adapter_config.json", "onnx/model.safetensors", "README.md"):
        (repository / name).write_text("not to be read")
    folder = resolve_source(SOURCE)
    assert {file.name for file in folder.rglob("*") if file.is_file()} == set(hub.bodies)
    assert set(hub.bodies) == {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}


@pytest.mark.parametrize("revision", ["main", COMMIT[:7]])
def test_moving_reference_is_refused_with_the_commit_that_it_means_now(hub: Hub, revision: str) -> None:
    with pytest.raises(ModelError, match=f"can come to mean other files.*at this moment it is {SOURCE}"):
        resolve_source(f"hub:some/model@{revision}")
    assert not hub.bodies


@pytest.mark.parametrize("source", ["hub:some/model@main", "hub:some/model@v1.0", f"hub:some/model@{COMMIT[:7]}"])
def test_moving_reference_in_a_task_is_refused_with_the_reason(model_folder: Path, source: str) -> None:
    value = complete_spec(f"path:{model_folder}", "sequence-classification").to_json_value()
    model = value["model"]
    assert isinstance(model, dict)
    with pytest.raises(SpecError, match=r"model\.source: a branch, a tag or a short hash can come to mean other files"):
        parse_spec({**value, "model": {**model, "source": source}})
    assert parse_spec({**value, "model": {**model, "source": SOURCE}}).model.source == SOURCE


def test_pickled_weights_of_a_hub_are_refused_before_anything_is_downloaded(hub: Hub) -> None:
    repository = hub.repositories["models/some/model"]
    (repository / "model.safetensors").rename(repository / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"weights are in pytorch_model\.bin, and only safetensors"):
        resolve_source(SOURCE)
    assert not hub.bodies


def test_download_that_broke_off_goes_on_and_is_never_taken_for_whole(
    hub: Hub, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.breaks_off = 1
    folder = resolve_source(SOURCE)
    assert weights_digest(folder) == weights_digest(model_folder)
    # Whatever else cuts a file short, the marker of a finished download does not cover it.
    victim = (folder / "model.safetensors").resolve()
    victim.write_bytes(victim.read_bytes()[:-1])
    asked = len(hub.asked)
    with pytest.raises(ModelError, match="has not arrived whole"):
        resolve_source(SOURCE)
    assert len(hub.asked) > asked


def test_outage_of_a_hub_is_said_and_what_is_cached_needs_none(hub: Hub, tmp_path: Path) -> None:
    hub.down = True
    with pytest.raises(ModelError, match=r"the hub does not give it.*503"):
        resolve_source(SOURCE)
    hub.down = False
    folder = resolve_source(SOURCE)
    hub.down = True
    assert resolve_source(SOURCE) == folder
    shutil.rmtree(tmp_path / "cache" / "models--some--model" / ".deltaproof")
    asked = len(hub.asked)
    assert resolve_source(SOURCE) == folder, "what another tool has downloaded was not found"
    assert len(hub.asked) == asked + 1, "whoever has the model waits for no hub that is away"


@pytest.mark.parametrize("left", [b"", b"12", b"12 config.json\n7 mod", b"x config.json\n", b"\xff\n"])
def test_list_of_a_download_that_a_loss_of_power_cut_is_made_again(hub: Hub, tmp_path: Path, left: bytes) -> None:
    """Accident: nothing at all would be the whole of the model, or of a data set, from then on."""
    folder = resolve_source(SOURCE)
    (marker,) = (tmp_path / "cache" / "models--some--model" / ".deltaproof").iterdir()
    whole = marker.read_bytes()
    marker.write_bytes(left)
    assert resolve_source(SOURCE) == folder
    assert marker.read_bytes() == whole


@pytest.mark.parametrize("name", ["../secret.jsonl", "/secret.jsonl", "a/../../secret.jsonl", "a\u2028b.jsonl", "a\nb"])
def test_file_outside_of_a_repository_is_refused(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Attack: be the mirror that HF_ENDPOINT names, and list a file of whoever asks among a data set's."""
    listed = [RepoFile(path=name, size=3, oid="0" * 40)]
    monkeypatch.setattr(HfApi, "list_repo_tree", lambda *_, **__: iter(listed))
    with pytest.raises(HubError, match="no name of a file inside of it"):
        list_files(HubPlace("dataset", "some/rows", COMMIT))


def test_moving_reference_is_refused_where_no_hub_answers_as_well(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelError, match="name the commit by its 40"):
        resolve_source("hub:some/model@main")
    assert not hub.asked


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (f"hub:nobody/nothing@{COMMIT}", "is no model that the hub shows"),
        (f"hub:some/model@{'f' * 40}", "has no such commit"),
        ("hub:some/model", "say at which commit"),
        (f"hub:../../etc@{COMMIT}", "Repo id"),
    ],
)
def test_what_a_hub_does_not_have_is_said(hub: Hub, source: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        resolve_source(source)


def test_gated_model_and_full_disk_are_said(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.gated.add("models/some/model")
    with pytest.raises(ModelError, match=r"is gated.*HF_TOKEN"):
        resolve_source(SOURCE)
    hub.gated.clear()
    monkeypatch.setattr(hub_module, "SPARE_BYTES", 1 << 60)
    with pytest.raises(ModelError, match=r"are free in .*HF_HOME"):
        resolve_source(SOURCE)
    assert not hub.bodies


def test_hub_is_not_asked_where_the_user_forbids_it(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE forbids to ask for it"):
        resolve_source(SOURCE)
    assert not hub.asked


def test_command_asks_the_hub_by_itself_and_for_nothing_but_the_model(hub: Hub, tmp_path: Path) -> None:
    rows = tmp_path / "held.jsonl"
    rows.write_text("".join(json.dumps({"text": f"row {i}", "label": i % 2}) + "\n" for i in range(40)))
    environment = {key: value for key, value in os.environ.items() if key != "HF_HUB_OFFLINE"}
    environment |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "deltaproof", "task", "init", "--model", SOURCE, "--data", str(rows)]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "draft")], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "downloading some/model" in done.stderr
    assert "model.safetensors" in hub.bodies
    assert all("some/model" in line for line in hub.asked), "something else was asked for, too"
    assert SOURCE in (tmp_path / "draft" / "task.toml").read_text()
