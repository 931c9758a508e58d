"""From canonical rows to the tensors of a batch.

Rows are JSON objects: `{"text", "label"}` for sequence classification, `{"text"}` or `{"prompt", "completion"}` for
causal language models (loss on the completion), `{"pixels", "label"}` for images (C x H x W bytes, flat).
B batch, T tokens, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from deltaproof.errors import EncodingError
from deltaproof.protocol.evidence.rows import canonical_row, parse_row
from deltaproof.protocol.rules import MAX_ROW_BYTES
from deltaproof.protocol.terms.spec import ModelSection
from deltaproof.protocol.wire.encoding import canonical_json
from deltaproof.tuning.errors import RowError

__all__ = ["IGNORED", "Batch", "made_up_row", "make_batch", "rows_as_read", "token_count", "unfit_rows"]

IGNORED = -100
"""Label of a token that counts for nothing."""
_TEXTS = ("text", "prompt", "completion")
_FIELDS = {
    "sequence-classification": ({"text", "label"},),
    "causal-lm": ({"text"}, {"prompt", "completion"}),
    "image-classification": ({"pixels", "label"},),
}


@dataclass(frozen=True)
class Batch:
    """Equal parts of a batch in order; `count` is the number of predictions that the mean loss divides by."""

    parts: tuple[dict[str, Tensor], ...]
    count: int


def made_up_row(section: ModelSection, config: Any, text: str) -> bytes:
    """A canonical row of the form that a model of this kind reads: the text, or a grey image of the model's size."""
    match section.kind:
        case "causal-lm":
            return canonical_row({"text": text})
        case "sequence-classification":
            return canonical_row({"text": text, "label": 0})
        case _:
            return canonical_row({"pixels": [128] * (config.num_channels * config.image_size**2), "label": 0})


def make_batch(
    rows: Sequence[bytes],
    section: ModelSection,
    *,
    tokenizer: Any,
    config: Any,
    parts: int,
    device: str = "cpu",
    pixels: torch.dtype = torch.float64,
) -> Batch:
    """Tensors for canonical rows, in order, in `parts` equal parts; those of images in the type `pixels`. Raises
    RowError or EncodingError for a bad row."""
    fields = [_checked(row, section, number) for number, row in enumerate(rows)]
    size = len(rows) // parts
    made = []
    for start in range(0, len(rows), size):
        part = fields[start : start + size]
        match section.kind:
            case "causal-lm":
                tensors = _known(_causal(part, section, tokenizer), config, start)
            case "sequence-classification":
                tensors = _known(_texts(part, section, tokenizer), config, start)
            case _:
                tensors = _images(part, config, dtype=pixels)
        made.append({name: tensor.to(device) for name, tensor in tensors.items()})
    if section.kind == "causal-lm":
        count = sum(int((part["labels"][:, 1:] != IGNORED).sum()) for part in made)
    else:
        count = len(rows)
    return Batch(tuple(made), max(count, 1))


def unfit_rows(rows: Sequence[bytes], section: ModelSection, *, tokenizer: Any, config: Any) -> Iterator[str]:
    """What is wrong with each canonical row that a task of this model cannot use: a person's data, before it is used.

    Besides what `make_batch` refuses, a prompt that leaves no token of its completion within `max_tokens`: such a row
    would be trained on for nothing.
    """
    for number, row in enumerate(rows):
        try:
            fields = _checked(row, section, number)
            if section.kind == "image-classification":
                _images([fields], config, number)
            elif section.kind == "sequence-classification":
                _known(_texts([fields], section, tokenizer), config, number)
            elif not _learns(_known(_causal([fields], section, tokenizer), config, number)):
                why = f"its prompt fills max_tokens = {section.max_tokens}" if "prompt" in fields else "it is too short"
                raise RowError(f"row {number}: {why}, so no token is left to predict")
        except (RowError, EncodingError) as error:
            yield str(error) if isinstance(error, RowError) else f"row {number}: {error}"


def token_count(row: bytes, section: ModelSection, tokenizer: Any) -> int:
    """Tokens of a canonical row before it is cut to `max_tokens`. Raises RowError or EncodingError for a bad row."""
    fields = _checked(row, section, 0)
    if section.kind == "causal-lm":
        return len(_causal_tokens(fields, tokenizer)[0])
    return len(tokenizer(fields["text"])["input_ids"])


def rows_as_read(rows: Iterable[bytes], section: ModelSection, tokenizer: Any) -> tuple[bytes, ...]:
    """Canonical rows, in ascending order, with their texts as the model reads them: no more than `max_tokens`, as the
    tokeniser gives them back. Rows of images stay as they are, and rows that no model could read.

    Attack: one shard under many names, with other words in each behind `max_tokens`, or with characters inside words
    that the tokeniser drops. To the model all names have the same rows.
    """
    return tuple(_as_read(row, section, tokenizer) for row in sorted(rows))


def _as_read(row: bytes, section: ModelSection, tokenizer: Any) -> bytes:
    if tokenizer is None:
        return row
    try:
        fields = _checked(row, section, 0)
    except (RowError, EncodingError):
        return row
    if section.kind == "causal-lm":
        tokens = _causal_tokens(fields, tokenizer)[0][: section.max_tokens]
    else:  # some tokenisers cut the beginning off
        tokens = tokenizer(fields["text"], truncation=True, max_length=section.max_tokens)["input_ids"]
    text = tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    others = {name: value for name, value in fields.items() if name not in _TEXTS}
    while len(data := canonical_json({**others, "text": text})) > MAX_ROW_BYTES:
        text = text[: len(text) * MAX_ROW_BYTES // len(data)]
    return data


def _learns(tensors: dict[str, Tensor]) -> bool:
    return bool((tensors["labels"][:, 1:] != IGNORED).any())


def _checked(row: bytes, section: ModelSection, number: int) -> dict[str, Any]:
    fields = parse_row(row)
    if set(fields) not in _FIELDS[section.kind]:
        expected = " or ".join(str(sorted(names)) for names in _FIELDS[section.kind])
        raise RowError(f"row {number} has fields {sorted(fields)}; {section.kind} needs {expected}")
    for name in _TEXTS:
        if name in fields and not isinstance(fields[name], str):
            raise RowError(f"row {number}: {name} must be text")
    if "label" in fields:
        label = fields["label"]
        if not isinstance(label, int) or isinstance(label, bool) or not 0 <= label < section.num_labels:
            raise RowError(f"row {number}: label must be 0 to {section.num_labels - 1}, not {label!r}")
    return fields


def _texts(fields: list[dict[str, Any]], section: ModelSection, tokenizer: Any) -> dict[str, Tensor]:
    encoded = tokenizer(
        [row["text"] for row in fields], truncation=True, max_length=section.max_tokens, return_attention_mask=True
    )
    return {**_padded(encoded["input_ids"], tokenizer), "labels": torch.tensor([row["label"] for row in fields])}


def _causal(fields: list[dict[str, Any]], section: ModelSection, tokenizer: Any) -> dict[str, Tensor]:
    tokens, labels = [], []
    for row in fields:
        whole, predicted = _causal_tokens(row, tokenizer)
        tokens.append(whole[: section.max_tokens])
        labels.append(predicted[: section.max_tokens])
    padded = _padded(tokens, tokenizer)
    width = padded["input_ids"].shape[1]
    return {**padded, "labels": torch.tensor([[*row, *[IGNORED] * (width - len(row))] for row in labels])}


def _causal_tokens(row: dict[str, Any], tokenizer: Any) -> tuple[list[int], list[int]]:
    """Tokens of a row, and what is to be predicted of them, uncut."""
    prompt = tokenizer(row["prompt"])["input_ids"] if "prompt" in row else []
    special = "prompt" not in row
    target = tokenizer(row.get("text", row.get("completion")), add_special_tokens=special)["input_ids"]
    if tokenizer.eos_token_id is not None:
        target = [*target, tokenizer.eos_token_id]
    return [*prompt, *target], [*[IGNORED] * len(prompt), *target]


def _known(tensors: dict[str, Tensor], config: Any, first: int) -> dict[str, Tensor]:
    """The tensors of rows from number `first` on. Raises RowError for a token that the model has no embedding of.

    Tokenisers know tokens that were added to them alone, and read them wherever a text names them. Attack: such a row
    among the validation rows ends every verifier, and on a GPU one of a trainer's leaves no memory to judge others in.
    """
    known = getattr(config, "vocab_size", None)
    if isinstance(known, int) and (beyond := (tensors["input_ids"] >= known).any(1).nonzero()).numel():
        raise RowError(f"row {first + int(beyond[0, 0])}: its text has a token that the model does not know")
    return tensors


def _padded(tokens: list[list[int]], tokenizer: Any) -> dict[str, Tensor]:
    """Token ids and attention mask, both [B, T], T the longest row."""
    width = max(1, *(len(row) for row in tokens)) if tokens else 1
    pad = tokenizer.pad_token_id or 0
    return {
        "input_ids": torch.tensor([[*row, *[pad] * (width - len(row))] for row in tokens]),
        "attention_mask": torch.tensor([[*[1] * len(row), *[0] * (width - len(row))] for row in tokens]),
    }


def _images(
    fields: list[dict[str, Any]], config: Any, first: int = 0, dtype: torch.dtype = torch.float64
) -> dict[str, Tensor]:
    shape = (config.num_channels, config.image_size, config.image_size)
    size = shape[0] * shape[1] * shape[2]
    for number, row in enumerate(fields, start=first):
        pixels = row["pixels"]
        if (
            not isinstance(pixels, list)
            or len(pixels) != size
            or not all(type(v) is int and 0 <= v < 256 for v in pixels)
        ):
            raise RowError(f"row {number}: pixels must be {size} whole numbers from 0 to 255")
    pixels = torch.tensor([row["pixels"] for row in fields], dtype=torch.float64).view(len(fields), *shape)
    return {"pixel_values": (pixels / 127.5 - 1.0).to(dtype), "labels": torch.tensor([row["label"] for row in fields])}
