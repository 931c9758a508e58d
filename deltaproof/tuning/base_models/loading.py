"""Base models: where they lie, and how they are loaded.

Safetensors only, no remote code, no network unless a hub model is named that is not in the local cache. GGUF weights in
a package are converted once into the cache.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from torch import nn

from deltaproof.errors import is_out_of_memory
from deltaproof.extras import need
from deltaproof.folders import cache_root, made_folder, settle_folder
from deltaproof.protocol.rules import MAX_TOKENS
from deltaproof.protocol.terms.spec import ModelSection
from deltaproof.protocol.types import hex_of
from deltaproof.protocol.wire.encoding import sha256 as sha256_of
from deltaproof.reporting import Reporter
from deltaproof.tuning.base_models.digests import TOKENISER_FILES, weights_digest
from deltaproof.tuning.base_models.layers import LAYERS_KEY, check_routing, number_as_in_full_model
from deltaproof.tuning.base_models.lean import (
    FrozenForm,
    InMemory,
    LeanModel,
    StoredTensor,
    built_empty,
    correspondence,
    load_lean,
    widest,
)
from deltaproof.tuning.base_models.packed import read_packed
from deltaproof.tuning.base_models.quiet import quiet
from deltaproof.tuning.errors import HubError, ModelError
from deltaproof.tuning.hub import HubFile, HubPlace, download
from deltaproof.tuning.numerics.precision import Precision, computing_in, dtype_of
from deltaproof.tuning.numerics.randomness import normal

__all__ = [
    "BaseModel",
    "RowReader",
    "cache_folder",
    "emulator_folder",
    "is_here",
    "load_base",
    "model_layers",
    "read_tokenizer",
    "resolve_source",
    "row_reader",
]

_AUTO_CLASSES = {
    "sequence-classification": "AutoModelForSequenceClassification",
    "causal-lm": "AutoModelForCausalLM",
    "image-classification": "AutoModelForImageClassification",
}
_HEAD_STD = 0.02
_PROBE = "The quick brown fox jumps over a lazy dog; 3.14159 unwatchable films, überhaupt. " * 16
"""Text that a tokeniser has to read alike however often it is asked."""
_READINGS = 4
_OTHER_WEIGHTS = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack", ".onnx", ".gguf")


@dataclass(frozen=True)
class BaseModel:
    """A loaded base model. `tokenizer` is None for models of images."""

    model: nn.Module
    tokenizer: Any
    folder: Path


@dataclass(frozen=True)
class RowReader:
    """What it takes to read rows for a model, without its weights. `tokenizer` is None for models of images."""

    tokenizer: Any
    config: Any

    @property
    def positions(self) -> int:
        """Most tokens of a row that the model has positions for."""
        return _positions(self.config)


def cache_folder() -> Path:
    """Where converted models are kept."""
    return cache_root() / "models"


def emulator_folder(sha256_hex: str) -> Path:
    """Where the emulator with this file digest is expanded to."""
    return cache_folder() / "emulators" / sha256_hex


def resolve_source(source: str, report: Reporter | None = None) -> Path:
    """The folder of a base model; `report` hears of a download. Raises ModelError if it is not there.

    `package:<name>/<folder>` is a folder inside an installed Python package, `path:<folder>` a local one,
    `hub:<org>/<name>@<commit>` a Hugging Face model, downloaded once (`deltaproof.tuning.hub`),
    `emulator:<sha256>` an emulator that was expanded from its file (`deltaproof.tuning.emulators`).
    """
    kind, _, where = source.partition(":")
    match kind:
        case "package":
            return _in_package(where)
        case "path":
            folder = Path(where).expanduser()
        case "hub":
            folder = _from_hub(where, report)
        case "emulator":
            folder = emulator_folder(where)
            if not folder.is_dir():
                raise ModelError(f"{source} is not here yet: trainers and verifiers fetch it from the task's store")
        case _:
            raise ModelError(f"model source {source!r}: expected package:, path:, hub: or emulator:")
    if not (folder / "config.json").is_file():
        raise ModelError(f"model source {source!r}: no config.json in {folder}")
    return folder


def is_here(source: str) -> bool:
    """Whether a model can be had without asking a hub, converting or expanding anything."""
    kind, _, where = source.partition(":")
    try:
        if kind == "hub":
            return HubPlace.parse(where).is_here()
        if kind == "package":
            name, _, inside = where.partition("/")
            spec = importlib.util.find_spec(re.sub(r"[-.]+", "_", name))
            return bool(spec and spec.origin and (Path(spec.origin).parent / inside / "config.json").is_file())
        return (resolve_source(source) / "config.json").is_file()
    except (HubError, ModelError):
        return False


def load_base(
    section: ModelSection,
    seed: bytes,
    precision: Precision,
    device: str = "cpu",
    *,
    packed: bool = False,
    beside: bool = False,
    lends: bool = False,
) -> BaseModel:
    """The base model of a task, every parameter frozen, in evaluation mode, loaded tensor by tensor.

    What the weights lack (a new classification head) is drawn from `seed` by parameter name. Constants that the model
    computes are made in float64 and narrowed, so that they are the same roundings in every precision. With `packed`,
    an emulator's quantised middle stays in its bits; nothing can be tuned there. `beside` is for who tunes no matrix of
    a layer itself: matrices are held as they are stored, and widened one at a time as they compute. `lends`: who
    loads it writes into no matrix either, and a later model of another precision in this process widens the same.

    Raises ModelError if the source is missing, its digest differs from the spec's, or it is of another kind.
    """
    folder = resolve_source(section.source)
    found = weights_digest(folder)
    if found != section.weights_digest:
        raise ModelError(
            f"base model {section.source} has digest {hex_of(found)}; the task names {hex_of(section.weights_digest)}"
        )
    matrices = read_packed(folder) if packed else {}
    form = FrozenForm(dtype_of(precision), device, beside, lends, section.frozen_dtype, matrices)
    # Libraries build a model under settings of the whole process: one thread loads at a time, and none computes then.
    with computing_in("float32"), quiet():
        try:
            lean = _lean(folder, section, form)
            tokenizer = None if section.kind == "image-classification" else _load_tokenizer(folder)
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            if is_out_of_memory(error):  # nothing is wrong with the model
                raise
            raise ModelError(f"base model {section.source} does not load as {section.kind}: {error}") from error
    model: Any = lean.model
    check_routing(model.config)
    if section.max_tokens > (positions := _positions(model.config)):
        raise ModelError(
            f"rows of {section.max_tokens} tokens do not fit {section.source}, which has {positions} positions"
        )
    _fill_missing(model, lean.lacks, seed)
    if (layers := getattr(model.config, LAYERS_KEY, None)) is not None:
        number_as_in_full_model(model, layers)
    model.requires_grad_(False)
    model.config.use_cache = False
    return BaseModel(model.eval().to(device=device, dtype=dtype_of(precision)), tokenizer, folder)


def row_reader(section: ModelSection) -> RowReader:
    """Configuration and tokeniser of a task's model. Raises ModelError."""
    config = _config(resolve_source(section.source), section.source)
    tokenizer = None if section.kind == "image-classification" else read_tokenizer(section.source)[0]
    return RowReader(tokenizer, config)


def read_tokenizer(source: str) -> tuple[Any, int]:
    """Tokeniser of a model, and the most tokens that the model takes. Raises ModelError."""
    folder = resolve_source(source)
    try:
        with quiet():
            tokenizer = _load_tokenizer(folder)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(f"base model {source} has no tokeniser that can be read: {error}") from error
    return tokenizer, _positions(_config(folder, source))


def model_layers(source: str) -> int:
    """Layers of a model by its configuration. Raises ModelError if it does not say."""
    layers = getattr(_config(resolve_source(source), source), "num_hidden_layers", None)
    if not isinstance(layers, int) or layers < 1:
        raise ModelError(f"the configuration of {source} does not say how many layers it has")
    return layers


def _config(folder: Path, source: str) -> Any:
    try:
        with quiet():
            return transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(f"base model {source} has no configuration that can be read: {error}") from error


def _positions(config: Any) -> int:
    positions = getattr(config, "max_position_embeddings", None)
    return positions if isinstance(positions, int) and positions > 0 else MAX_TOKENS


def _options(section: ModelSection) -> dict[str, Any]:
    return {
        "dtype": torch.float64,
        "attn_implementation": "eager",  # fused attention hides its dropout and rounds differently per device
        "trust_remote_code": False,
        **({"num_labels": section.num_labels} if section.num_labels else {}),
    }


def _lean(folder: Path, section: ModelSection, form: FrozenForm) -> LeanModel:
    """The model, and the names of the parameters that its weights lack."""
    auto_class = getattr(transformers, _AUTO_CLASSES[section.kind])
    options = _options(section)
    labels = {"num_labels": options.pop("num_labels")} if section.num_labels else {}
    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **labels)

    def build() -> nn.Module:
        with computing_in("float64"):
            model: nn.Module = auto_class.from_config(config, **options)
        return model

    model = built_empty(build)
    stored = correspondence(folder, model)
    return load_lean(model, _renamed(auto_class, folder, section) if stored is None else stored, form)


def _renamed(auto_class: Any, folder: Path, section: ModelSection) -> dict[str, StoredTensor]:
    """Tensors that transformers stores under other names than it gives parameters, or does not need."""
    with computing_in("float32"):
        model, report = auto_class.from_pretrained(
            folder, use_safetensors=True, local_files_only=True, output_loading_info=True,
            **{**_options(section), "dtype": widest(folder)},
        )  # fmt: skip
    state = {name: p.detach() for name, p in model.named_parameters() if name not in report["missing_keys"]}
    return {name: InMemory(state, name) for name in state}


def _load_tokenizer(folder: Path) -> Any:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    tokenizer.padding_side = "right"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if len({tuple(tokenizer(_PROBE)["input_ids"]) for _ in range(_READINGS)}) > 1:
        raise ModelError(
            "its tokeniser draws how it reads a text (dropout of merges, or sampling), so that a verifier reads other "
            "tokens than a trainer: switch that off in its files"
        )
    return tokenizer


def _fill_missing(model: nn.Module, names: Iterable[str], seed: bytes) -> None:
    parameters = dict(model.named_parameters())
    for name in names:
        parameter = parameters.get(name)
        if parameter is None:
            raise ModelError(f"the weights lack {name!r}, which is no parameter of the model")
        with torch.no_grad():
            if parameter.ndim >= 2:
                key = sha256(b"deltaproof/head/v1\x00" + seed + name.encode()).digest()
                drawn = torch.from_numpy(normal(key, 0, parameter.numel(), 0.0, _HEAD_STD))
                parameter.copy_(drawn.view(parameter.shape))
            else:
                parameter.zero_()


def _in_package(where: str) -> Path:
    name, _, inside = where.partition("/")
    module = re.sub(r"[-.]+", "_", name)
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ModelError(f"model package {name!r} is not installed")
    folder = Path(spec.origin).parent / inside
    if (folder / "config.json").is_file():
        return folder
    weights = sorted(folder.glob("*.gguf")) if folder.is_dir() else []
    if len(weights) != 1:
        raise ModelError(f"package {name!r} holds no model in {inside or '.'!r}: neither config.json nor one GGUF file")
    return _converted(weights[0])


def _converted(gguf: Path) -> Path:
    """Safetensors form of a GGUF file, made once (20 to 40 s for 135 M parameters) and kept in the cache."""
    target = cache_folder() / f"{gguf.stem}-{sha256_of(gguf.read_bytes()).hex()[:16]}"
    if (target / "config.json").is_file():
        return target
    need("gguf")
    work = Path(tempfile.mkdtemp(prefix=".converting-", dir=made_folder(target.parent)))
    try:
        with quiet():
            model = transformers.AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype="float32")
            tokenizer = transformers.AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
            # Otherwise transformers believes that the converted weights are still quantised.
            model.hf_quantizer = None
            model.is_quantized = False
            if hasattr(model.config, "quantization_config"):
                del model.config.quantization_config
            model.save_pretrained(work)
            tokenizer.save_pretrained(work)
        try:
            settle_folder(work, target)
        except OSError:
            if not (target / "config.json").is_file():  # else another process was first, with the same content
                raise
    except (OSError, ValueError, ImportError) as error:
        raise ModelError(f"cannot convert {gguf}: {error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target


def _from_hub(where: str, report: Reporter | None) -> Path:
    try:
        return download(HubPlace.parse(where), _model_files, report)[0].parent
    except HubError as error:
        raise ModelError(f"base model {error}") from error


def _model_files(files: Sequence[HubFile]) -> list[HubFile]:
    """What belongs to a model's digest, and nothing else. Raises HubError."""
    top = [file for file in files if "/" not in file.path]
    weights = [file for file in top if file.path.endswith(".safetensors")]
    if not weights:
        others = [file.path for file in files if file.path.endswith(_OTHER_WEIGHTS)]
        has = f"its weights are in {others[0]}" if others else "there are no weights in it"
        raise HubError(f"cannot be used: {has}, and only safetensors are loaded, which run no code")
    described = {"config.json", "model.safetensors.index.json", *TOKENISER_FILES}
    if "config.json" not in {file.path for file in top}:
        raise HubError("cannot be used: it has no config.json")
    return [*weights, *(file for file in top if file.path in described)]
