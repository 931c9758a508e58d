"""From the full model and a recipe to an emulator; and the same again, to check what a task names.

Dropping, pruning and quantising are exact, so a second derivation gives the same weights digest on any machine. The
factors of a product and distilled weights come out equal up to rounding; `check_derivation` says how far off they are.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from deltaproof.protocol.terms.federation import EmulatorSection, Fidelity, Recipe
from deltaproof.protocol.terms.spec import ModelSection
from deltaproof.protocol.types import Digest32
from deltaproof.tuning.base_models.digests import TOKENISER_FILES, weights_digest
from deltaproof.tuning.base_models.layers import layer_list, layer_of
from deltaproof.tuning.base_models.loading import BaseModel, emulator_folder, load_base, resolve_source
from deltaproof.tuning.emulators._passes import batches, run, tokens, watching
from deltaproof.tuning.emulators.compression import Matrix, compressed_size
from deltaproof.tuning.emulators.distilling import distill
from deltaproof.tuning.emulators.fidelity import measure_fidelity
from deltaproof.tuning.emulators.packing import expand, pack
from deltaproof.tuning.errors import ModelError

__all__ = ["Emulator", "FullModel", "check_derivation", "derive"]

Progress = Callable[[str], None]
_SEED = bytes(32)
"""Of heads that the weights lack; they differ from task to task and are no part of an emulator."""
_DISTILLED_TOLERANCE = 0.02
_FACTORED_TOLERANCE = 1e-4


@dataclass(frozen=True)
class FullModel:
    """The model that its owner keeps, and which of its layers are disclosed and tuned."""

    section: ModelSection
    """As in a spec, with the full model's own source and digest."""
    first: int
    last: int

    @property
    def folder(self) -> Path:
        """Where the owner's model lies. Raises ModelError."""
        return resolve_source(self.section.source)

    def load(self) -> BaseModel:
        """In float32. Raises ModelError."""
        return load_base(self.section, _SEED, "float32")


@dataclass(frozen=True)
class Emulator:
    """A derived emulator: the file that travels, and what the task says of it."""

    data: bytes = field(repr=False)
    layers: tuple[int, ...]
    recipe: Recipe
    weights_digest: Digest32
    fidelity: Fidelity
    ratio: float
    """Bytes of the middle, as a share of the full model's in float32."""

    @property
    def source(self) -> str:
        """What a spec calls it: `emulator:` and the SHA-256 of its file."""
        return f"emulator:{hashlib.sha256(self.data).hexdigest()}"

    def described(self, name: str) -> EmulatorSection:
        """Its entry in a spec, under a name."""
        return EmulatorSection(
            name=name,
            source=self.source,
            weights_digest=self.weights_digest,
            file_bytes=len(self.data),
            layers=self.layers,
            recipe=self.recipe,
            fidelity=self.fidelity,
        )


def derive(full: FullModel, recipe: Recipe, rows: Sequence[bytes], progress: Progress = lambda _: None) -> Emulator:
    """Make an emulator, expand it into the local cache and measure it on the public `rows`.

    Raises ModelError for a model without a middle, RowError or EncodingError for rows that do not fit it.
    """
    if not rows:
        raise ModelError("an emulator is made and measured with public rows; there are none")
    base = full.load()
    depth = len(layer_list(base.model))
    if full.first + full.last >= depth:
        raise ModelError(f"first + last = {full.first + full.last} leave no middle of {depth} layers")
    tensors = _stored_tensors(full.folder)
    adapters = (*range(full.first), *range(depth - full.last, depth))
    middle = [number for number in range(depth) if number not in adapters]
    shapes = {n: tuple(t.shape) for n, t in tensors.items() if layer_of(n) in middle}
    if not shapes:
        raise ModelError("no stored tensor belongs to a middle layer")
    kept = _kept_layers(full, base, recipe, rows, middle, depth, shapes)
    progress(f"keeping layers {', '.join(map(str, kept))} of the middle {middle[0]} to {middle[-1]}")
    layers = tuple(sorted({*adapters, *kept}))
    compact = {n: t.float().numpy() for n, t in tensors.items() if layer_of(n) in kept}
    disclosed = {n: t for n, t in tensors.items() if layer_of(n) is None or layer_of(n) in adapters}
    files = _files(full.folder)
    if recipe.distill_steps:
        compact = _distilled(full, base, recipe, rows, (disclosed, compact, files, layers), depth, progress)
    data = pack(disclosed, compact, files, layers, recipe)

    folder = emulator_folder(hashlib.sha256(data).hexdigest())
    if not folder.is_dir():
        expand(data, folder)
    small = _load(full, f"path:{folder}", weights_digest(folder))
    fidelity = measure_fidelity(base, small, full.section, rows, depth=depth, last=full.last)
    sent = sum(compressed_size(values.shape, recipe) for values in compact.values())
    ratio = sent / sum(4 * int(np.prod(shape)) for shape in shapes.values())
    return Emulator(data, layers, recipe, weights_digest(folder), fidelity, ratio)


def check_derivation(full: FullModel, named: EmulatorSection, rows: Sequence[bytes]) -> str | None:
    """Derive the emulator that a task names again; why it is not what the recipe gives, or None."""
    again = derive(full, named.recipe, rows)
    if again.layers != named.layers:
        return f"the recipe keeps layers {list(again.layers)}, not {list(named.layers)}"
    if again.weights_digest != named.weights_digest:
        allowed = _tolerance(named.recipe)
        off = _largest_difference(emulator_folder(again.source.partition(":")[2]), resolve_source(named.source))
        if off > allowed:
            return f"its weights differ from the recipe's by {off:.3g} relative; {allowed:g} is what rounding explains"
    for name in ("hidden", "output"):
        mine, theirs = getattr(again.fidelity, name), getattr(named.fidelity, name)
        if abs(mine - theirs) > 1e-6 + 0.02 * max(mine, theirs):
            return f"its {name} distance on the public rows is {mine:g}, not {theirs:g}"
    return None


def _kept_layers(
    full: FullModel,
    base: BaseModel,
    recipe: Recipe,
    rows: Sequence[bytes],
    middle: Sequence[int],
    depth: int,
    shapes: Mapping[str, tuple[int, ...]],
) -> list[int]:
    """As many middle layers as the ratio pays for, at least one."""
    whole = sum(4 * int(np.prod(shape)) for shape in shapes.values()) / len(middle)
    small = sum(compressed_size(shape, recipe) for shape in shapes.values()) / len(middle)
    count = min(len(middle), max(1, round(recipe.ratio * len(middle) * whole / small)))
    if recipe.select == "importance":
        influence = _influence(full, base, rows, depth)
        return sorted(sorted(middle, key=lambda number: (-influence[number], number))[:count])
    if count == 1:
        return [middle[len(middle) // 2]]
    return [middle[round(i * (len(middle) - 1) / (count - 1))] for i in range(count)]


def _influence(full: FullModel, base: BaseModel, rows: Sequence[bytes], depth: int) -> dict[int, float]:
    """1 - cosine of what enters and what leaves each layer, mean over tokens (Men et al. 2024, arXiv 2403.03853)."""
    totals = dict.fromkeys(range(depth), 0.0)
    with torch.inference_mode(), watching(base.model, depth) as seen:
        for inputs in batches(base, full.section, rows):
            run(base, full.section, inputs)
            mask = tokens(inputs)
            for number in range(depth):
                before, after = seen.states[number].double(), seen.states[number + 1].double()
                change = 1.0 - torch.nn.functional.cosine_similarity(before, after, dim=-1)
                if mask is not None and mask.shape == change.shape:
                    change = change[mask]
                totals[number] += float(change.sum())
    # Rounded, so that machines agree on the order unless layers are equally important for all that is known.
    return {number: round(total, 6) for number, total in totals.items()}


def _distilled(
    full: FullModel,
    base: BaseModel,
    recipe: Recipe,
    rows: Sequence[bytes],
    parts: tuple[Mapping[str, Tensor], Mapping[str, Matrix], Mapping[str, bytes], tuple[int, ...]],
    depth: int,
    progress: Progress,
) -> dict[str, Matrix]:
    """The middle's tensors after distillation."""
    disclosed, compact, files, layers = parts
    plain = Recipe(ratio=recipe.ratio, distill_steps=recipe.distill_steps)  # float32, for the owner alone
    with tempfile.TemporaryDirectory(prefix="deltaproof-distil-") as place:
        folder = Path(place) / "model"
        expand(pack(disclosed, compact, files, layers, plain), folder)
        small = _load(full, f"path:{folder}", weights_digest(folder))
        adapters = [*range(full.first), *range(depth - full.last, depth)]
        distill(
            base, small, full.section, rows, recipe, adapter_layers=adapters, boundary=depth - full.last, depth=depth,
            progress=lambda step, steps, loss: progress(f"distilling {step}/{steps}: distance {loss:.4f}"),
        )  # fmt: skip
        live = dict(small.model.named_parameters())
        return {name: _live(live, name).detach().numpy().copy() for name in compact}


def _live(parameters: Mapping[str, Tensor], stored: str) -> Tensor:
    """The parameter that a stored tensor was loaded into; models with a head carry a prefix."""
    found = [name for name in parameters if name == stored or name.endswith(f".{stored}")]
    if len(found) != 1:
        raise ModelError(f"the stored tensor {stored!r} belongs to {len(found)} parameters of the model")
    return parameters[found[0]]


def _load(full: FullModel, source: str, digest: Digest32) -> BaseModel:
    section = full.section.model_copy(update={"source": source, "weights_digest": digest})
    return load_base(section, _SEED, "float32")


def _stored_tensors(folder: Path) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            tensors |= {name: file.get_tensor(name) for name in sorted(file.keys())}
    return tensors


def _files(folder: Path) -> dict[str, bytes]:
    names = ("config.json", *TOKENISER_FILES)
    return {name: (folder / name).read_bytes() for name in names if (folder / name).is_file()}


def _tolerance(recipe: Recipe) -> float:
    """Relative distance of two derivations on different machines."""
    if recipe.distill_steps:
        return _DISTILLED_TOLERANCE
    return _FACTORED_TOLERANCE if recipe.rank_share else 0.0


def _largest_difference(first: Path, second: Path) -> float:
    """Largest relative L2 difference of two folders' tensors; infinite if these are not the same ones."""
    ours, theirs = _stored_tensors(first), _stored_tensors(second)
    if {n: t.shape for n, t in ours.items()} != {n: t.shape for n, t in theirs.items()}:
        return float("inf")
    return max(
        float((ours[n].double() - theirs[n].double()).norm() / max(float(ours[n].double().norm()), 1e-30)) for n in ours
    )
