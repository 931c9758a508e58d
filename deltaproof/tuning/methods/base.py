"""What every delta-tuning method does, and the base class of those that peft implements."""

from __future__ import annotations

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, Literal

import peft
import torch
from torch import Tensor, nn

from deltaproof.protocol.rules import MAX_ADAPTER_RANK
from deltaproof.protocol.terms.spec import ModelSection, OptionValue
from deltaproof.tuning.base_models.loading import BaseModel
from deltaproof.tuning.base_models.quiet import quiet
from deltaproof.tuning.errors import MethodError
from deltaproof.tuning.methods.low_rank import low_rank_pairs
from deltaproof.tuning.numerics.products import LowRankPair, Tensors
from deltaproof.tuning.numerics.randomness import SeededFills

__all__ = [
    "HEAD_NAMES",
    "Family",
    "Method",
    "Options",
    "PeftMethod",
    "Reasons",
    "Shapes",
    "adapter_key",
    "head_names",
    "refuse_bombs",
]

Options = Mapping[str, OptionValue]
"""A method's options in a spec, by name."""
Reasons = Mapping[str, str]
"""Why options are refused, by name."""
Shapes = Mapping[str, tuple[int, ...]]
"""Of trainable tensors, by name."""
Family = Literal["addition", "specification", "reparameterisation"]
"""How a method adds to a model: new parts, some of its own values, or a new form of them."""

HEAD_NAMES = ("classifier", "score")
"""Names that transformers gives the classification head."""
_TASK_TYPES = {"sequence-classification": "SEQ_CLS", "causal-lm": "CAUSAL_LM", "image-classification": None}
_FIXED_OPTIONS = frozenset(
    {"auto_mapping", "base_model_name_or_path", "inference_mode", "peft_type", "peft_version", "revision", "task_type"}
)
"""Fields of a peft configuration that the task determines elsewhere."""


_PLAIN = re.compile(r"[\w. -]*")
_PATTERNS = frozenset({"target_modules", "exclude_modules", "feedforward_modules"})
"""Options of which peft takes one text for a regular expression that names of modules have to match."""
_MOST_REPEATS, _MOST_CHOICES = 3, 8
"""In such an expression, so that a name of a hundred characters is matched in a moment."""


class Method(ABC):
    """A way to make a base model trainable with few values.

    The trainable tensors are the state. `unfold` turns them into what is aggregated: tensors that add up, and factors
    of products (`pairs`); `fold` turns an aggregate back. Both must give the same bits on every IEEE machine.
    """

    family: ClassVar[Family]
    paper: ClassVar[str]
    aggregation: ClassVar[str]
    """How deltas become one, in a phrase."""
    adds_up: ClassVar[bool] = True
    """Whether tensors outside of pairs are aggregated as they are trained."""
    merges: ClassVar[bool] = True
    """Whether the products of its pairs, if it has any, can be added to the weights that they act on."""
    shortened: ClassVar[tuple[str, ...]] = ()
    """Endings of unfolded tensors outside of pairs of which `fold` drops small values."""
    reruns: ClassVar[bool] = True
    """Whether a layer gives the same when it runs a second time on the same inputs."""
    calibrated: ClassVar[bool] = False
    """Whether `calibrate` has to be called before `attach`."""

    @classmethod
    def has_shares(cls) -> bool:
        """Whether deltas add up to a step whose shares can be paid for (`aumann_shapley`), as far as the method
        decides: a model can keep products from being merged all the same."""
        return cls.adds_up and cls.merges

    @abstractmethod
    def __init__(self, options: Mapping[str, OptionValue]) -> None:
        """Raises MethodError for an option that the method does not have or cannot be replayed or aggregated with."""

    @property
    def leaves_matrices(self) -> bool:
        """Whether the matrices of the model's layers stay as they are, and nothing but their products is used: they
        may then be held in fewer bits than the model computes in."""
        return False

    @abstractmethod
    def attach(self, base: nn.Module, kind: str, seed: bytes) -> nn.Module:
        """The model with its trainable tensors, initialised from `seed` alone. `kind` is the spec's `model.kind`.

        Raises MethodError if the method does not fit the model.
        """

    @abstractmethod
    def export(self, model: nn.Module, folder: Path, source: str) -> None:
        """Write the deliverable: a folder that `load` reads."""

    @staticmethod
    @abstractmethod
    def load(base: nn.Module, folder: Path, options: Mapping[str, OptionValue]) -> nn.Module:
        """The base model with the adapter in `folder`, ready to use. `base` may be changed in place."""

    def calibrate(self, base: BaseModel, section: ModelSection) -> None:  # noqa: B027  # most need none
        """Read or compute what `attach` needs, such as a mask from the float64 base model and rows in the options."""

    def pairs(self, model: nn.Module) -> tuple[LowRankPair, ...]:
        """Unfolded tensors that act through their product, sorted by module."""
        return ()

    def unfold(self, tensors: Tensors) -> Tensors:
        """Trainable tensors of one adapter to the tensors that are aggregated."""
        return tensors

    def fold(self, combined: Tensors, members: Sequence[Tensors], shapes: Shapes) -> Tensors:
        """An aggregate of unfolded tensors back to trainable ones; `members` are what it was made of, unfolded."""
        return {name: values.reshape(shapes[name]) for name, values in combined.items()}

    def penalty(self, model: nn.Module) -> Tensor | None:
        """A term of the training loss besides the rows' mean, in nats."""
        return None

    @contextmanager
    def sampling(self, model: nn.Module, key: bytes) -> Iterator[None]:
        """Training passes inside draw the method's own randomness from `key`."""
        yield


class PeftMethod(Method):
    """A method of the peft library, named by its configuration class; options are that class's fields."""

    config_class: ClassVar[type[peft.PeftConfig]]
    defaults: ClassVar[Options] = {}
    """Options that a task may override."""
    forced: ClassVar[Options] = {}
    """Options that make the method what its name says."""
    refused: ClassVar[Reasons] = {}
    """Options that cannot be replayed or aggregated, with the reason."""

    def __init__(self, options: Mapping[str, OptionValue]) -> None:
        known = set(inspect.signature(self.config_class).parameters) - _FIXED_OPTIONS - set(self.forced)
        if unknown := sorted(set(options) - known):
            raise MethodError(f"{self.config_class.__name__} has no option {', '.join(map(repr, unknown))}")
        for option in sorted(set(options) & set(self.refused)):
            raise MethodError(f"{self.config_class.__name__}: {option} is refused: {self.refused[option]}")
        for option, value in options.items():
            what = f"{self.config_class.__name__}: {option}"
            refuse_bombs(what, value)
            _refuse_slow_pattern(what, option in _PATTERNS, value)
        merged = {**self.defaults, **options, **self.forced}
        self.options = {key: list(value) if isinstance(value, tuple) else value for key, value in merged.items()}

    def attach(self, base: nn.Module, kind: str, seed: bytes) -> nn.Module:
        options: dict[str, Any] = {**self.targets(base), **self.options}
        if kind == "image-classification":
            options.setdefault("modules_to_save", head_names(base))
        try:
            config = self.config_class(task_type=_TASK_TYPES[kind], **options)
            with quiet(), SeededFills(adapter_key(seed)):
                model = peft.get_peft_model(base, config, autocast_adapter_dtype=False)
        except (ValueError, TypeError, KeyError, AttributeError, NotImplementedError, RuntimeError) as error:
            raise MethodError(f"{self.config_class.__name__} does not fit this model: {error}") from error
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise MethodError(f"{self.config_class.__name__} leaves nothing to train in this model")
        return model.eval()  # type: ignore[no-any-return]

    def targets(self, base: nn.Module) -> dict[str, Any]:
        """Options that follow from the model where the task leaves them out."""
        return {}

    def pairs(self, model: nn.Module) -> tuple[LowRankPair, ...]:
        return low_rank_pairs(model)

    def export(self, model: nn.Module, folder: Path, source: str) -> None:
        if not isinstance(model, peft.PeftModel):
            raise TypeError("only a model that this method attached to can be exported")
        config = model.peft_config["default"]
        config.base_model_name_or_path = source
        model.save_pretrained(str(folder), safe_serialization=True, save_embedding_layers=False)

    @staticmethod
    def load(base: nn.Module, folder: Path, options: Mapping[str, OptionValue]) -> nn.Module:
        # Libraries draw values here that are then overwritten.
        with quiet(), torch.random.fork_rng(devices=[]):
            return peft.PeftModel.from_pretrained(base, str(folder), autocast_adapter_dtype=False).eval()  # type: ignore[no-any-return]


def refuse_bombs(what: str, value: OptionValue) -> None:
    """Raises MethodError for a whole number that no size of an adapter is.

    Attack: a rank of a billion in a task that pays well, or in one of one's own about which one brings a case. Tensors
    are made before anybody can compare how many values they have with what the chain says, and the system ends the
    process with all of its tasks.
    """
    if isinstance(value, int) and value > MAX_ADAPTER_RANK:
        raise MethodError(f"{what} is {value:,}, more than {MAX_ADAPTER_RANK:,}")


def _refuse_slow_pattern(what: str, is_pattern: bool, value: OptionValue) -> None:
    """Raises MethodError for a text of an option that could be matched for ever.

    Attack: name modules by `(([a-z.])+)+!`, and whoever makes the model computes until the end of time, in one call
    that nothing interrupts: no task of the process answers a demand, nor does a juror in its own.
    """
    if isinstance(value, str) and is_pattern:
        repeats = sum(value.count(sign) for sign in "*+?{")
        nested = re.search(r"\)[*+?{]", value) is not None
        if nested or repeats > _MOST_REPEATS or value.count("|") > _MOST_CHOICES:
            raise MethodError(
                f"{what} is an expression that may take for ever to match: repeat no group, {_MOST_REPEATS} things at "
                f"most, between {_MOST_CHOICES + 1} choices at most; or list the names of modules"
            )
        try:
            re.compile(value)
        except re.error as error:
            raise MethodError(f"{what} is no expression: {error}") from error
        return
    for text in value if isinstance(value, tuple) else (value,):
        if isinstance(text, str) and _PLAIN.fullmatch(text) is None:
            raise MethodError(f"{what}: {text[:60]!r} is no plain name")


def adapter_key(seed: bytes) -> bytes:
    """Key of the draws that initialise an adapter."""
    return sha256(b"deltaproof/adapter/v1\x00" + seed).digest()


def head_names(base: nn.Module) -> list[str]:
    """Names of the classification head's modules."""
    return [name for name in HEAD_NAMES if isinstance(getattr(base, name, None), nn.Module)]
