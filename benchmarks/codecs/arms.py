"""What is compared: a method, and the codec that its deltas travel in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from deltaproof.protocol.wire.encoding import canonical_json

__all__ = ["ARMS", "REFERENCE", "Arm", "lora"]


@dataclass(frozen=True)
class Arm:
    """A way to train and to send. `base`: the learning rate around which the best is searched for."""

    method: str
    options: Mapping[str, Any]
    base: float
    codec: str = "float32"
    codec_options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Names what is trained and how it travels: under its name an arm may have been another."""
        return sha256(canonical_json(self.sections)).hexdigest()[:16]

    @property
    def sections(self) -> dict[str, Any]:
        """Of the task spec."""
        return {
            "method": {"name": self.method, "options": dict(self.options)},
            "codec": {"name": self.codec, "options": dict(self.codec_options)},
        }


def lora(rank: int, alpha: int, targets: tuple[str, ...] = ("query", "value"), first: int = 0) -> dict[str, Any]:
    """LoRA's options for MiniLM's six layers from the `first` on."""
    upper = {"layers_to_transform": list(range(first, 6))} if first else {}
    return {"r": rank, "lora_alpha": alpha, "target_modules": list(targets), **upper}


REFERENCE = "lora, float32"
ARMS: Mapping[str, Arm] = {
    REFERENCE: Arm("lora", lora(8, 16), 4e-3),
    "upper lora, two_bit": Arm("lora", lora(2, 8, first=3), 8e-3, "two_bit", {"keep_norm": True}),
    "upper lora of rank 8, two_bit": Arm("lora", lora(8, 16, first=3), 8e-3, "two_bit", {"keep_norm": True}),
    "lora, low_rank|two_bit": Arm("lora", lora(8, 16), 4e-3, "low_rank|two_bit", {"numbers": 9800, "rank": 2}),
}
"""The first is what the others are held against; they are measured in this order."""
