"""The digest that a task names a base model by.

It covers canonical tensor content, configuration and tokeniser: the order inside a file and its metadata do not matter.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from deltaproof.protocol.types import Digest32
from deltaproof.protocol.wire.encoding import canonical_json
from deltaproof.protocol.wire.encoding import sha256 as sha256_of
from deltaproof.tuning.errors import ModelError

__all__ = ["TOKENISER_FILES", "weights_digest"]

_WEIGHTS_DOMAIN = b"deltaproof/weights/v1\x00"
_IGNORED_CONFIG_KEYS = ("_name_or_path", "transformers_version")
TOKENISER_FILES = (
    "added_tokens.json",
    "bpe.codes",
    "byte_maps.json",
    "chat_template.jinja",
    "dict.txt",
    "emoji.json",
    "entity_vocab.json",
    "merges.txt",
    "normalizer.json",
    "preprocessor_config.json",
    "prophetnet.tokenizer",
    "sentencepiece.bpe.model",
    "sentencepiece.model",
    "source.spm",
    "special_tokens_map.json",
    "spiece.model",
    "spm.model",
    "spm_char.model",
    "target.spm",
    "target_vocab.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab-src.json",
    "vocab-tgt.json",
    "vocab.json",
    "vocab.txt",
    "word_pronunciation.json",
    "word_shape.json",
)
"""Files of a model folder that decide how text becomes tokens; they belong to its digest."""
_AT_REST_NANOS = 2 * 10**9
"""A file that was written later than that before it was read may change without another time of its last change."""

_Version = tuple[tuple[str, int, int, int, int], ...]
_known: dict[Path, tuple[_Version, Digest32]] = {}
"""Of folders that this process has read: a role loads a model several times, and a large one takes a minute to hash."""


def weights_digest(folder: Path) -> Digest32:
    """Digest of a model folder: every tensor by name, dtype, shape and content, the configuration and the tokeniser.

    A folder whose files have not changed since this process read them is not read again.

    Raises ModelError if there are no safetensors weights, a name occurs twice, or a file is unreadable.
    """
    folder, began = folder.absolute(), time.time_ns()
    version = _version(folder)
    if folder in _known and _known[folder][0] == version:
        return _known[folder][1]
    found = _read_digest(folder)
    if version == _version(folder) and all(changed < began - _AT_REST_NANOS for *_, changed in version):
        _known[folder] = version, found
    return found


def _version(folder: Path) -> _Version:
    """Of every file that a digest covers: name, inode, size, and when its content and anything of it changed last."""
    paths = [*sorted(folder.glob("*.safetensors")), *(folder / name for name in ("config.json", *TOKENISER_FILES))]
    found = []
    for path in paths:
        with suppress(FileNotFoundError):  # few models have all files of a tokeniser
            one = path.stat()
            found.append((path.name, one.st_ino, one.st_size, one.st_mtime_ns, one.st_ctime_ns))
    return tuple(found)


def _read_digest(folder: Path) -> Digest32:
    digest = sha256(_WEIGHTS_DOMAIN)
    for name, dtype, shape, content in _tensor_digests(folder):
        digest.update(canonical_json([name, dtype, shape]) + b"\x00" + content)
    for name, content in _described_files(folder):
        digest.update(canonical_json([name]) + b"\x00" + content)
    return Digest32(digest.digest())


def _tensor_digests(folder: Path) -> Iterator[tuple[str, str, list[int], bytes]]:
    where: dict[str, Path] = {}
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="np") as file:
                names = list(file.keys())
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{path}: {error}") from error
        for name in names:
            if name in where:
                raise ModelError(f"tensor {name!r} is in {where[name].name} and in {path.name}")
            where[name] = path
    if not where:
        raise ModelError(f"no safetensors weights in {folder}")
    for name in sorted(where):
        with safe_open(where[name], framework="pt") as file:
            tensor = file.get_tensor(name).contiguous()
        content = sha256(tensor.reshape(-1).view(torch.uint8).numpy().data).digest()
        yield name, str(tensor.dtype).removeprefix("torch."), list(tensor.shape), content


def _described_files(folder: Path) -> Iterator[tuple[str, bytes]]:
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"the configuration in {folder} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise ModelError(f"the configuration in {folder} is no object")
    for key in _IGNORED_CONFIG_KEYS:
        config.pop(key, None)
    yield "config.json", sha256_of(canonical_json(config))
    for name in TOKENISER_FILES:
        if (folder / name).is_file():
            yield name, sha256_of((folder / name).read_bytes())
