"""An adapter's folder goes to a hub for who holds a token that may write, and says what is wrong otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deltaproof.errors import UsageError
from deltaproof.tuning.errors import HubError
from deltaproof.tuning.publishing import push_folder
from tests.worlds.hub import COMMIT, Hub, point_at, serve_hub

TOKEN = "hf_ours"
FILES = {"README.md": b"# An adapter\n", "adapter_config.json": b"{}", "adapter_model.safetensors": b"\x00\x01\x02"}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with serve_hub() as served:
        served.tokens.add(TOKEN)
        point_at(served, tmp_path / "cache", monkeypatch)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield served


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "adapter"
    made.mkdir()
    for name, data in {**FILES, "notes.txt": b"of nobody's business", "key.pem": b"secret"}.items():
        (made / name).write_bytes(data)
    return made


def test_adapter_its_card_and_nothing_else_are_published(hub: Hub, folder: Path) -> None:
    url = push_folder(folder, "some/adapter", "after round 3", private=True)
    assert url == f"{hub.url}/some/adapter/commit/{COMMIT}"
    assert hub.pushed == {"some/adapter": FILES}
    push_folder(folder, "some/adapter", "again", private=True)


def test_without_a_token_nobody_is_asked(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("deltaproof.tuning.publishing.get_token", lambda: None)  # this machine's user may have one
    with pytest.raises(UsageError, match="set HF_TOKEN"):
        push_folder(folder, "some/adapter", "", private=False)
    assert not hub.asked


def test_token_that_is_refused_and_name_that_is_none_are_told(
    hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_somebody_else")
    with pytest.raises(HubError, match="the token is not valid"):
        push_folder(folder, "some/adapter", "", private=False)
    with pytest.raises(UsageError, match="--push a/b/c"):
        push_folder(folder, "a/b/c", "", private=False)
    assert not hub.pushed
