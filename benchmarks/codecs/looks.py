"""What was tried before arms were chosen, each with one seed: on the dev task, and on one task that is reported.

`kept` is `keep_norm`. A name without a method is LoRA on query and value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.codecs.arms import Arm, lora

__all__ = ["LOOKS", "SECOND_TASK"]

SECOND_TASK = "tweets"
"""Looked at again because the chosen arm lost there."""


def _sent(codec: str, options: Mapping[str, Any], *, kept: bool = True, **codec_options: Any) -> Arm:
    return Arm("lora", options, 8e-3, codec, {**codec_options, **({"keep_norm": True} if kept else {})})


def _plain(options: Mapping[str, Any]) -> Arm:
    return Arm("lora", options, 8e-3)


UPPER = 3
"""First of the layers that a name calls the last three."""
QUARTER = {"fraction": 0.25}
TRIPLETS = {"numbers": 9800, "rank": 2}
MORE_TRIPLETS = {"numbers": 10200, "rank": 4}
_ON_PRODUCTS: Mapping[str, tuple[Arm, tuple[float, ...]]] = {
    "vera": (Arm("vera", {"r": 256}, 1e-2, "two_bit"), (0.0025, 0.01, 0.04, 0.16, 0.64)),
    "layer_norm": (Arm("layer_norm", {}, 4e-3, "two_bit"), (0.004, 0.016)),
    "ia3": (Arm("ia3", {}, 1e-2, "sign"), (0.01, 0.04)),
    "pfeiffer of size 1": (Arm("pfeiffer", {"size": 1}, 4e-3, "two_bit"), (0.004,)),
    "rank 1, alpha 2": (_sent("two_bit", lora(1, 2), kept=False), (0.004, 0.016)),
    "rank 1, alpha 2, kept": (_sent("two_bit", lora(1, 2)), (0.016,)),
    "rank 1, alpha 4, kept": (_sent("two_bit", lora(1, 4)), (0.008, 0.016)),
    "rank 1, alpha 8": (_sent("two_bit", lora(1, 8), kept=False), (0.008,)),
    "rank 1, alpha 8, kept": (_sent("two_bit", lora(1, 8)), (0.008,)),
    "rank 1, alpha 8, kept, blocks of 384": (_sent("two_bit", lora(1, 8), block=384), (0.008,)),
    "rank 1, alpha 8, random rounding": (_sent("dorefa", lora(1, 8), kept=False, bits=2), (0.008,)),
    "rank 1, alpha 8, random rounding, blocks of 384": (
        _sent("dorefa", lora(1, 8), kept=False, bits=2, block=384),
        (0.008,),
    ),
    "rank 1, alpha 8, uncoded": (_plain(lora(1, 8)), (0.008,)),
    "rank 1, alpha 16": (_sent("two_bit", lora(1, 16), kept=False), (0.004,)),
    "rank 2, alpha 4, kept": (_sent("sign", lora(2, 4)), (0.016,)),
    "rank 2, alpha 8": (_sent("sign", lora(2, 8), kept=False), (0.008,)),
    "rank 2, alpha 16, kept": (_sent("sign", lora(2, 16)), (0.004, 0.008)),
    "rank 2, alpha 16, kept, blocks of 384": (_sent("sign", lora(2, 16), block=384), (0.008,)),
    "values alone, rank 2, alpha 16, kept": (_sent("two_bit", lora(2, 16, ("value",))), (0.008,)),
    "last three layers, rank 1, alpha 8": (_sent("int4", lora(1, 8, first=UPPER), kept=False, block=256), (0.008,)),
    "last three layers, rank 2, alpha 8": (_sent("two_bit", lora(2, 8, first=UPPER), kept=False), (0.008,)),
    "last three layers, rank 2, alpha 16, kept": (_sent("two_bit", lora(2, 16, first=UPPER)), (0.008,)),
    "last three layers, rank 4, alpha 8, kept": (_sent("sign", lora(4, 8, first=UPPER)), (0.008,)),
    "last three layers, rank 4, alpha 16": (_sent("sign", lora(4, 16, first=UPPER), kept=False), (0.008,)),
    "last three layers, rank 4, alpha 16, kept": (_sent("sign", lora(4, 16, first=UPPER)), (0.008,)),
    "last three layers, rank 4, alpha 32, kept": (_sent("sign", lora(4, 32, first=UPPER)), (0.008,)),
    "last three layers, rank 8": (
        _sent("low_rank|two_bit", lora(8, 16, first=UPPER), kept=False, **MORE_TRIPLETS),
        (0.008,),
    ),
    "last two layers, rank 3, alpha 24, kept": (_sent("two_bit", lora(3, 24, first=4)), (0.008,)),
    "rank 8, kept": (_sent("low_rank|two_bit", lora(8, 16), **TRIPLETS), (0.008,)),
    "an eighth of rank 8, alpha 64, kept": (_sent("dropout|two_bit", lora(8, 64), fraction=0.125), (0.008,)),
    "an eighth of rank 8, alpha 32, kept": (_sent("dropout|two_bit", lora(8, 32), fraction=0.125), (0.008,)),
    "a quarter of rank 8, alpha 32, kept": (
        _sent("dropout|sign", lora(8, 32), **QUARTER),
        (0.002, 0.004, 0.008, 0.016, 0.032),
    ),
    "last three layers, a quarter of rank 8, alpha 32, kept": (
        _sent("dropout|two_bit", lora(8, 32, first=UPPER), **QUARTER),
        (0.008,),
    ),
    "last three layers, a quarter of rank 8, alpha 16, kept": (
        _sent("dropout|two_bit", lora(8, 16, first=UPPER), **QUARTER),
        (0.008,),
    ),
}
_ON_TWEETS: Mapping[str, Arm] = {
    "last three layers, rank 2, alpha 8, uncoded": _plain(lora(2, 8, first=UPPER)),
    "last three layers, rank 2, alpha 8": _sent("two_bit", lora(2, 8, first=UPPER), kept=False),
    "last three layers, rank 2, alpha 8, kept, blocks of 384": _sent("two_bit", lora(2, 8, first=UPPER), block=384),
    "values alone, rank 2, alpha 8, kept": _sent("two_bit", lora(2, 8, ("value",))),
    "last three layers, rank 1, alpha 8": _sent("int4", lora(1, 8, first=UPPER), kept=False, block=256),
    "last three layers, rank 8, kept": _sent("low_rank|two_bit", lora(8, 16, first=UPPER), **MORE_TRIPLETS),
    "rank 8": _sent("low_rank|two_bit", lora(8, 16), kept=False, **TRIPLETS),
    "rank 8, kept": _sent("low_rank|two_bit", lora(8, 16), **TRIPLETS),
    "last three layers, rank 8, uncoded": _plain(lora(8, 16, first=UPPER)),
    "a quarter of rank 8, alpha 32, kept": _sent("dropout|sign", lora(8, 32), **QUARTER),
}
LOOKS: Mapping[str, Mapping[str, tuple[Arm, tuple[float, ...]]]] = {
    "products": _ON_PRODUCTS,
    SECOND_TASK: {name: (arm, (0.008,)) for name, arm in _ON_TWEETS.items()},
}
"""By task and name: the arm, and the rates that it was tried at."""
