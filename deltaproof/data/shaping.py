"""From records to canonical rows that a task's model reads: columns, labels, chat templates, images.

What a template or an image library makes of a record is written down once, as a row. So nothing that is committed
depends on the version of a library.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deltaproof.data.records import SourceRecord
from deltaproof.errors import EncodingError, UsageError
from deltaproof.extras import need
from deltaproof.protocol.evidence.rows import canonical_row
from deltaproof.protocol.terms.spec import ModelSection
from deltaproof.tuning.base_models.batches import unfit_rows
from deltaproof.tuning.base_models.loading import RowReader
from deltaproof.tuning.errors import RowError

__all__ = ["FORMS", "Shaper", "Shaping"]

FORMS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "sequence-classification": (("text", "label"),),
    "causal-lm": (("messages",), ("prompt", "completion"), ("text",)),
    "image-classification": (("pixels", "label"), ("image", "label")),
}
"""What a record may give, by kind of model; the first that its columns have counts."""
ROLES = ("system", "user", "assistant")
MOST_PIXELS = 64_000_000
"""Of an image before it is made smaller."""
IMAGE_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF")
"""What an image may be, whatever its name says.

Attack: put PostScript into a data set's image: the library runs Ghostscript for it.
"""


@dataclass(frozen=True)
class Shaping:
    """What a person says about the columns."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Column by field, where the names differ."""
    labels: tuple[str, ...] = ()
    """Names of the labels in order; the first is 0. Numbers need none."""
    chat: bool = False
    """Whether prompt and completion become a conversation in the tokeniser's own template."""
    system: str = ""
    """With `chat`, what the system says first."""


class Shaper:
    """Makes rows for one model."""

    def __init__(self, section: ModelSection, reader: RowReader, shaping: Shaping, max_row_bytes: int) -> None:
        """Raises UsageError for fields that this kind of model does not have."""
        self.section, self.reader, self.shaping = section, reader, shaping
        self.max_row_bytes = max_row_bytes
        self._form: tuple[str, ...] | None = None
        fields = {name for form in FORMS[section.kind] for name in form}
        if unknown := sorted(set(shaping.columns) - fields):
            raise UsageError(f"--map {unknown[0]}: a row of {section.kind} has {', '.join(sorted(fields))}")
        if shaping.chat and section.kind != "causal-lm":
            raise UsageError(f"--chat is for language models, not for {section.kind}")

    @property
    def uses_template(self) -> bool:
        """Whether the tokeniser's chat template decides what the rows say, as far as they were read."""
        return self.shaping.chat or self._form == ("messages",)

    def row(self, record: SourceRecord) -> bytes:
        """The canonical row of a record. Raises RowError for a bad one, UsageError for columns that do not fit."""
        if record.problem:
            raise RowError(record.problem)
        form = self._form = self._form or self._form_of(record)
        values = {name: record.values.get(self._column(name)) for name in form}
        if missing := [self._column(name) for name in form if self._column(name) not in record.values]:
            raise RowError(f"it has no {missing[0]!r}")
        try:
            row = canonical_row(self._fields(values, record.folder))
        except (EncodingError, UnicodeError) as error:
            raise RowError(f"it cannot be written down: {error}") from error
        if len(row) > self.max_row_bytes:
            raise RowError(f"it has {len(row)} bytes as a row, and the task takes {self.max_row_bytes}")
        for wrong in unfit_rows([row], self.section, tokenizer=self.reader.tokenizer, config=self.reader.config):
            raise RowError(wrong.removeprefix("row 0").removeprefix(":").strip())
        return row

    def _column(self, name: str) -> str:
        return self.shaping.columns.get(name, name)

    def _form_of(self, record: SourceRecord) -> tuple[str, ...]:
        """Which fields this source gives, by the columns of its first good record."""
        said = set(self.shaping.columns)
        for form in FORMS[self.section.kind]:
            if said <= set(form) and all(self._column(name) in record.values for name in form):
                return form
        needs = " or ".join(" and ".join(form) for form in FORMS[self.section.kind])
        has = ", ".join(sorted(record.values)) or "none"
        raise UsageError(
            f"{record.where}: {self.section.kind} needs the columns {needs}, and there are {has}; "
            "--map FIELD=COLUMN says which is which"
        )

    def _fields(self, values: Mapping[str, object], folder: Path) -> dict[str, object]:
        made: dict[str, object] = {}
        for name, value in values.items():
            match name:
                case "label":
                    made[name] = self._label(value)
                case "image":
                    made["pixels"] = _pixels(value, folder, self.reader.config)
                case "pixels":
                    made[name] = value
                case "messages":
                    return dict(self._turns(value))
                case _:
                    made[name] = _text(name, value)
        if self.shaping.chat:
            if "prompt" not in made:
                raise UsageError("--chat needs columns prompt and completion, or messages")
            turns = [{"role": "user", "content": made["prompt"]}, {"role": "assistant", "content": made["completion"]}]
            return dict(self._turns(turns))
        return made

    def _label(self, value: object) -> int:
        names = self.shaping.labels
        if _is_missing(value):
            raise RowError("its label is missing")
        if names and (said := str(value).strip()) in names:
            return names.index(said)
        if isinstance(value, str) and not names and value.strip().isascii() and value.strip().isdigit():
            return int(value)
        if isinstance(value, float) and value.is_integer():
            return int(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        known = f"--labels knows {', '.join(names[:20])}" if names else "name the labels in order: --labels A,B,..."
        raise RowError(f"its label is {str(value)[:60]!r}; {known}")

    def _turns(self, value: object) -> Iterator[tuple[str, str]]:
        """Prompt and completion of a conversation: all but the last turn, and the last, in the tokeniser's template."""
        turns = _checked_turns(value)
        if self.shaping.system and turns[0]["role"] != "system":
            turns = [{"role": "system", "content": self.shaping.system}, *turns]
        tokenizer = self.reader.tokenizer
        if not getattr(tokenizer, "chat_template", None):
            raise UsageError(
                "the model's tokeniser has no chat template: write prompts and completions yourself, in two columns"
            )
        jinja2 = need("jinja2")
        try:
            whole = tokenizer.apply_chat_template(turns, tokenize=False)
            asked = tokenizer.apply_chat_template(turns[:-1], tokenize=False, add_generation_prompt=True)
        except (jinja2.TemplateError, TypeError, ValueError) as error:
            raise RowError(f"the chat template does not take it: {error}") from error
        if not whole.startswith(asked):
            raise RowError("the chat template writes the question otherwise once it is answered")
        answer = whole.removeprefix(asked)
        # Training adds these two by itself: one more would teach the model to write them twice.
        begins, ends = tokenizer.bos_token, tokenizer.eos_token
        if begins and tokenizer("")["input_ids"][:1] == [tokenizer.bos_token_id]:
            asked = asked.removeprefix(begins)
        if ends and answer.rstrip("\n").endswith(ends):
            answer = answer.rstrip("\n").removesuffix(ends)
        yield "prompt", asked
        yield "completion", answer


def _text(name: str, value: object) -> str:
    if _is_missing(value):
        raise RowError(f"its {name} is missing")
    if not isinstance(value, str):
        raise RowError(f"its {name} is {type(value).__name__}, not text")
    if not value.strip():
        raise RowError(f"its {name} is empty")
    return value


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value)) or value == ""


def _checked_turns(value: object) -> list[dict[str, str]]:
    if not isinstance(value, list) or len(value) < 2 or not all(isinstance(turn, dict) for turn in value):
        raise RowError("its messages are no list of two turns at least, each with role and content")
    turns = []
    for turn in value:
        role, content = turn.get("role"), turn.get("content")
        if role not in ROLES or not isinstance(content, str) or not content.strip():
            raise RowError(f"a turn has a role ({', '.join(ROLES)}) and a content that is text and not empty")
        turns.append({"role": str(role), "content": content})
    if turns[-1]["role"] != "assistant":
        raise RowError("its last turn is not the assistant's, so there is nothing to learn")
    return turns


def _pixels(value: object, folder: Path, config: Any) -> list[int]:
    """C x H x W bytes, flat, in the model's size, of an image's bytes or of a file below `folder`."""
    image_module = need("PIL.Image")
    if isinstance(value, Mapping):  # how `datasets` and Parquet files of a hub keep an image
        value = value.get("bytes") or value.get("path")
    if isinstance(value, str):
        file = (folder / value).resolve()
        if not file.is_relative_to(folder.resolve()):
            raise RowError(f"its image {value!r} lies outside of {folder}")
        try:
            value = file.read_bytes()
        except OSError as error:
            raise RowError(f"its image {value!r} cannot be read: {error.strerror}") from error
    if not isinstance(value, bytes):
        raise RowError("its image is neither bytes nor the name of a file")
    mode = {1: "L", 3: "RGB"}.get(config.num_channels)
    if mode is None:
        raise UsageError(f"images of {config.num_channels} channels cannot be made from files: give pixels instead")
    size = (config.image_size, config.image_size)
    try:
        with image_module.open(io.BytesIO(value), formats=IMAGE_FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                raise RowError(f"its image has {image.width} x {image.height} pixels, more than {MOST_PIXELS}")
            seen = image.convert(mode).resize(size, image_module.Resampling.BICUBIC)
    except image_module.UnidentifiedImageError as error:
        raise RowError(f"its image cannot be read: it is none of {', '.join(IMAGE_FORMATS)}") from error
    except (OSError, ValueError, SyntaxError, image_module.DecompressionBombError) as error:
        raise RowError(f"its image cannot be read: {error}") from error
    flat = seen.tobytes()  # H x W x C
    channels = config.num_channels
    return [byte for channel in range(channels) for byte in flat[channel::channels]]
