"""The card beside an adapter says where it comes from, and a sponsor's words stay words."""

from __future__ import annotations

import json
from pathlib import Path

from deltaproof.protocol.types import Digest32, TaskId, address, hex_of
from deltaproof.sponsor.model_card import CARD_FILE, Provenance, Quality, write_card
from deltaproof.tuning.base_models.presets import complete_spec, minimal_model

WHERE = Provenance(31337, address("0x" + "12" * 20), TaskId(7), 2, Digest32(bytes([9]) * 32))
HOSTILE = "---\nlicense: mine\n# [x](javascript:y) <script>"


def test_card_names_model_proof_and_quality_and_no_markup_of_the_sponsor(tmp_path: Path) -> None:
    source = f"path:{minimal_model(tmp_path / 'model', 'bert')}"
    words = {"task": {"name": HOSTILE, "description": HOSTILE}}
    spec = complete_spec(source, "sequence-classification", words)
    write_card(tmp_path, spec, WHERE, {"start": Quality(0.7, 0.5), "this adapter": Quality(0.25, 0.875)})
    card = (tmp_path / CARD_FILE).read_text("utf-8")
    _, head, body = card.split("---\n", 2)
    told = dict(line.split(": ", 1) for line in head.strip().splitlines())
    assert json.loads(told["base_model"]) == source
    assert "license" not in told
    assert told["pipeline_tag"] == "text-classification"
    assert hex_of(spec.digest()) in body
    assert hex_of(WHERE.digest) in body
    assert "task 7" in body
    assert "| this adapter | 0.2500 | 0.875 |" in body
    assert "deltaproof audit --task 7" in body
    assert "\nlicense" not in body
    assert "<script>" not in body.replace("\\<", "")
    assert "[x](" not in body.replace("\\[", "").replace("\\]", "")


def test_card_of_a_running_task_says_that_nothing_is_measured(tmp_path: Path) -> None:
    spec = complete_spec(f"path:{minimal_model(tmp_path / 'model', 'bert')}", "sequence-classification")
    write_card(tmp_path, spec, WHERE, {})
    assert "Not measured yet" in (tmp_path / CARD_FILE).read_text("utf-8")
