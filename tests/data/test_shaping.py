"""From records to rows: columns, labels, conversations, images; what is odd is refused with the reason."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from deltaproof.data.reading import gather
from deltaproof.data.records import SourceRecord, read_records
from deltaproof.errors import UsageError
from deltaproof.protocol.evidence.rows import parse_row
from deltaproof.protocol.terms.spec import ModelSection
from deltaproof.tuning.base_models.batches import IGNORED, make_batch
from deltaproof.tuning.base_models.loading import row_reader
from deltaproof.tuning.errors import RowError
from tests.data.conftest import Make

TALK = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}]


def record(folder: Path = Path(), **values: object) -> SourceRecord:
    return SourceRecord("line 1", values, folder)


def test_columns_and_named_labels_become_fields(make: Make) -> None:
    shaper = make("sequence-classification", columns={"text": "review", "label": "stars"}, labels=("bad", "good"))
    made = parse_row(shaper.row(record(review="fine", stars="good", extra=3.5)))
    assert made == {"text": "fine", "label": 1}


@pytest.mark.parametrize("label", [1, 1.0, "1", " 1 "])
def test_label_that_is_a_number_in_any_form_is_one(make: Make, label: object) -> None:
    assert parse_row(make("sequence-classification").row(record(text="a", label=label)))["label"] == 1


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"label": None}, "label is missing"),
        ({"label": float("nan")}, "label is missing"),
        ({"label": ""}, "label is missing"),
        ({"label": "great"}, "label is 'great'; name the labels in order"),
        ({"label": 1.5}, "label is '1.5'"),
        ({"label": True}, "label is 'True'"),
        ({"label": 7}, "label must be 0 to 1, not 7"),
        ({"text": None}, "text is missing"),
        ({"text": " \n"}, "text is empty"),
        ({"text": 5}, "text is int, not text"),
        ({"text": "half a pair \ud800"}, "cannot be written down"),
        ({"text": "x" * 9000}, r"has 90\d\d bytes as a row, and the task takes 8192"),
    ],
)
def test_odd_value_is_refused_with_the_reason(make: Make, values: dict[str, object], why: str) -> None:
    with pytest.raises(RowError, match=why):
        make("sequence-classification").row(record(**{"text": "a", "label": 0, **values}))


def test_label_that_no_name_fits_is_told_with_the_names(make: Make) -> None:
    with pytest.raises(RowError, match="'great'; --labels knows bad, good"):
        make("sequence-classification", labels=("bad", "good")).row(record(text="a", label="great"))


def test_missing_columns_are_told_with_those_that_are_there(make: Make) -> None:
    with pytest.raises(UsageError, match=r"needs the columns text and label, and there are review, stars; --map"):
        make("sequence-classification").row(record(review="a", stars=1))
    with pytest.raises(UsageError, match=r"--map txet: a row of sequence-classification has label, text"):
        make("sequence-classification", columns={"txet": "review"})
    shaper = make("sequence-classification")
    shaper.row(record(text="a", label=1))
    with pytest.raises(RowError, match="it has no 'label'"):
        shaper.row(record(text="a"))


def tokens(section: ModelSection, row: bytes) -> tuple[list[int], list[int]]:
    """What the model reads of a row, and what of it is to be learnt."""
    reader = row_reader(section)
    part = make_batch([row], section, tokenizer=reader.tokenizer, config=reader.config, parts=1).parts[0]
    return part["input_ids"][0].tolist(), [label for label in part["labels"][0].tolist() if label != IGNORED]


def test_conversation_is_what_the_template_of_the_tokeniser_writes(
    make: Make, sections: dict[str, ModelSection]
) -> None:
    section = sections["causal-lm"]
    row = make("causal-lm").row(record(messages=TALK))
    assert parse_row(row) == {"prompt": "[user] hi\n[assistant] ", "completion": "yo"}
    tokenizer = row_reader(section).tokenizer
    whole = tokenizer.apply_chat_template(TALK, tokenize=True, return_dict=False)
    read, learnt = tokens(section, row)
    assert whole[: len(read)] == read, "training reads something else than the template writes"
    assert tokenizer.decode(learnt) == "yo<eos>"


def test_prompt_and_completion_become_a_conversation_when_asked(make: Make) -> None:
    plain = parse_row(make("causal-lm").row(record(prompt="hi", completion="yo")))
    assert plain == {"prompt": "hi", "completion": "yo"}
    shaper = make("causal-lm", chat=True, system="be kind")
    asked = parse_row(shaper.row(record(prompt="hi", completion="yo")))
    assert asked == {"prompt": "[system] be kind\n[user] hi\n[assistant] ", "completion": "yo"}
    assert shaper.uses_template


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        ("hi", "no list of two turns"),
        (TALK[:1], "no list of two turns"),
        ([*TALK, TALK[0]], "last turn is not the assistant's"),
        ([TALK[0], {"role": "robot", "content": "x"}], "a turn has a role"),
        ([TALK[0], {"role": "assistant", "content": None}], "content that is text"),
        ([{"role": "user", "content": "long " * 20}, TALK[1]], r"prompt fills max_tokens = 64, so no token is left"),
    ],
)
def test_odd_conversation_is_refused_with_the_reason(make: Make, messages: Any, why: str) -> None:
    with pytest.raises(RowError, match=why):
        make("causal-lm").row(record(messages=messages))


def test_conversation_without_a_template_is_refused(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    shaper = make("causal-lm")
    monkeypatch.setattr(shaper.reader.tokenizer, "chat_template", None)
    with pytest.raises(UsageError, match="has no chat template"):
        shaper.row(record(messages=TALK))


def picture(colour: tuple[int, int, int], size: tuple[int, int] = (40, 20)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "PNG")
    return out.getvalue()


def test_images_of_a_folder_take_their_label_from_its_name(make: Make, tmp_path: Path) -> None:
    for label, colour in (("cat", (255, 255, 255)), ("dog", (0, 0, 0))):
        (tmp_path / label).mkdir()
        (tmp_path / label / "1.png").write_bytes(picture(colour))
    shaper = make("image-classification", labels=("cat", "dog"))
    rows = [parse_row(shaper.row(each)) for each in read_records(str(tmp_path))]
    assert rows == [{"pixels": [255] * 64, "label": 0}, {"pixels": [0] * 64, "label": 1}]


def test_image_of_a_data_set_is_read_from_its_bytes_in_planes(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    shaper = make("image-classification")
    monkeypatch.setattr(shaper.reader.config, "num_channels", 3)
    made = parse_row(shaper.row(record(image={"bytes": picture((10, 20, 30)), "path": None}, label=0)))
    assert made["pixels"] == [10] * 64 + [20] * 64 + [30] * 64


@pytest.mark.parametrize(
    ("image", "why"),
    [
        ("../secret.png", "lies outside of"),
        ("gone.png", "cannot be read: No such file"),
        (b"GIF89a no picture", "cannot be read"),
        (3, "neither bytes nor the name of a file"),
        (None, "neither bytes nor the name of a file"),
        (picture((0, 0, 0), (9000, 9000)), "9000 x 9000 pixels, more than"),
    ],
)
def test_image_that_cannot_be_used_is_refused(make: Make, tmp_path: Path, image: object, why: str) -> None:
    (tmp_path / "secret.png").write_bytes(picture((0, 0, 0)))
    inside = tmp_path / "inside"
    inside.mkdir()
    with pytest.raises(RowError, match=why):
        make("image-classification").row(record(inside, image=image, label=0))


def test_no_program_is_run_for_what_calls_itself_an_image(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: put PostScript where a data set has an image, so that Ghostscript reads it."""
    ran = tmp_path / "ran"
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {ran}\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n%%EOF\n"
    with pytest.raises(RowError, match="none of PNG, JPEG"):
        make("image-classification").row(record(image={"bytes": script, "path": "1.png"}, label=0))
    assert not ran.exists()


def test_bad_and_repeated_records_are_counted_and_left_out_on_demand_only(make: Make) -> None:
    values = [("a", 0), ("b", 1), ("a", 0), ("", 1), ("c", 9)]
    records = [
        SourceRecord(f"line {n}", {"text": text, "label": label}, Path()) for n, (text, label) in enumerate(values, 1)
    ]
    found = gather(records, make("sequence-classification"), 100)
    assert (len(found.rows), found.records, found.repeated) == (2, 5, 1)
    with pytest.raises(
        UsageError,
        match=r"2 of 5 .* no use:\n  line 4: its text is missing\n  line 5: label must be 0 to 1, not 9\nmend them, or",
    ):
        found.usable(drop_bad=False)
    assert found.usable(drop_bad=True) is found
    assert len(gather(records, make("sequence-classification"), 100, limit=1).rows) == 1
    with pytest.raises(UsageError, match="more than 1 row,"):
        gather(records, make("sequence-classification"), 1)
    with pytest.raises(UsageError, match="there is no row in it"):
        gather([], make("sequence-classification"), 1).usable(drop_bad=True)
