"""A task of anybody's data that does not say how it pays, pays by the value that names cannot buy, or says why not."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from deltaproof.errors import SpecError
from deltaproof.protocol.commit.secrets import HomeSecret
from deltaproof.protocol.evidence.rows import canonical_row, write_shard
from deltaproof.protocol.evidence.state import Layout
from deltaproof.protocol.terms.spec import CodecSection
from deltaproof.sponsor.checking import check_draft
from deltaproof.sponsor.drafts import prepare_task
from deltaproof.sponsor.open_pay import choose_open_pay
from deltaproof.sponsor.stand_in import read_draft
from deltaproof.tuning.base_models.presets import minimal_model
from deltaproof.tuning.codecs import SELECTIONS, VALUES, create_codec, sends_a_part
from tests.worlds.market import DRAFT


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("open")
    minimal_model(made / "bert", "bert")
    write_shard(made / "rows.jsonl", [canonical_row({"text": f"row {i}", "label": i % 2}) for i in range(8)])
    return made


def draft_of(folder: Path, into: Path, *changes: tuple[str, str]) -> Path:
    text = DRAFT.format(model=folder / "bert")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    shutil.copy(folder / "rows.jsonl", into)
    (into / "task.toml").write_text(text)
    return into / "task.toml"


def test_draft_that_does_not_say_how_it_pays_pays_by_distinct_rows(folder: Path, tmp_path: Path) -> None:
    draft = draft_of(folder, tmp_path)
    spec = prepare_task(draft, HomeSecret(bytes(32))).spec
    assert (spec.scoring.index, spec.scoring.rows, spec.aggregation.weights) == ("aumann_shapley", "distinct", "rows")
    assert read_draft(draft).scoring == spec.scoring, "and so reads whoever asks before it is made"


@pytest.mark.parametrize(
    "change",
    [
        ("[sponsor]", '[scoring]\nindex = "shapley"\n[sponsor]'),
        ("[sponsor]", '[sponsor]\nshards = ["rows.jsonl"]'),
        ("[codec]", '[data]\nroots = ["0x' + "5b" * 32 + '"]\n[codec]'),
    ],
    ids=["its own choice", "named files", "named roots"],
)
def test_group_that_is_known_or_chooses_keeps_coalitions(folder: Path, tmp_path: Path, change: tuple[str, str]) -> None:
    checked = check_draft(draft_of(folder, tmp_path, change)).usable()
    section: Any = checked.tables.get("scoring", {})
    assert section.get("index", "shapley") == "shapley"
    assert "aggregation" not in checked.tables


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (('name = "lora"', 'name = "dora"'), "deltas of dora do not add up"),
        (("byte_limit", 'name = "dropout"\nbyte_limit'), "leaves each trainer a part"),
        (("[sponsor]", '[aggregation]\nrule = "median"\n[sponsor]'), "aggregation.rule is 'median'"),
        (("[sponsor]", '[scoring]\nmethod = "exact"\n[sponsor]'), "scoring.method is 'exact'"),
    ],
    ids=["method", "codec", "rule", "estimator"],
)
def test_open_draft_whose_deltas_have_no_shares_is_refused_until_it_says_what_it_wants(
    folder: Path, tmp_path: Path, change: tuple[str, str], reason: str
) -> None:
    with pytest.raises(SpecError) as refused:
        check_draft(draft_of(folder, tmp_path, change)).usable()
    (problem,) = [p for p in refused.value.problems if p.key == "scoring.index"]
    assert reason in problem.what
    assert 'index = "shapley"' in problem.remedy


def test_what_does_not_name_its_shards_or_roots_is_left_as_it_is_if_it_cannot_be_safe() -> None:
    tables: dict[str, object] = {"method": {"name": "vera"}, "scoring": {"budget": 8}}
    assert choose_open_pay(tables, named=False)
    assert tables == {"method": {"name": "vera"}, "scoring": {"budget": 8}}


@pytest.mark.parametrize("name", [*SELECTIONS, *VALUES, "dropout|int8", "top_k|two_bit"])
def test_codec_says_by_its_name_whether_it_sends_a_part(name: str) -> None:
    codec = create_codec(CodecSection(name=name, byte_limit=2**31 - 1), Layout.of({"stand-in": (4, 4)}))
    assert codec.partial == sends_a_part(name)
