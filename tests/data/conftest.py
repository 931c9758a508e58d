from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from deltaproof.data.shaping import Shaper, Shaping
from deltaproof.protocol.terms.spec import ModelSection
from deltaproof.tuning.base_models.loading import row_reader
from deltaproof.tuning.base_models.presets import complete_spec, minimal_model

TEMPLATE = (
    "{% for turn in messages %}{{ '[' + turn['role'] + '] ' + turn['content'] }}"
    "{% if turn['role'] == 'assistant' %}{{ eos_token }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '[assistant] ' }}{% endif %}"
)
Make = Callable[..., Shaper]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A minimal model for each kind; the language model has a chat template."""
    inside = tmp_path_factory.mktemp("models")
    chatting = minimal_model(inside / "llama", "llama")
    config = chatting / "tokenizer_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "chat_template": TEMPLATE}))
    return {
        "sequence-classification": minimal_model(inside / "bert", "bert"),
        "causal-lm": chatting,
        "image-classification": minimal_model(inside / "vit", "vit"),
    }


@pytest.fixture(scope="session")
def sections(models: dict[str, Path]) -> dict[str, ModelSection]:
    found = {kind: complete_spec(f"path:{folder}", kind).model for kind, folder in models.items()}
    return found | {"causal-lm": found["causal-lm"].model_copy(update={"max_tokens": 64})}


@pytest.fixture
def make(sections: dict[str, ModelSection]) -> Make:
    """A shaper of rows for the minimal model of a kind."""

    def made(kind: str, max_row_bytes: int = 8192, **shaping: object) -> Shaper:
        section = sections[kind]
        return Shaper(section, row_reader(section), Shaping(**shaping), max_row_bytes)  # type: ignore[arg-type]

    return made
