"""What heavy work runs on: a device, and workers beside each other. None of it changes a verdict or a score."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, cast, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deltaproof.errors import UsageError

__all__ = ["HERE", "Backend", "Machine", "machine_of", "pick_device"]

Backend = Literal["inline", "processes", "ray"]
"""Where replays and coalition values run: in this process, in processes of this machine, on a Ray cluster."""


@dataclass(frozen=True)
class Machine:
    """`device` is torch's name, on a Ray cluster the workers'; `ray_address` is the cluster's, `auto` the one that runs
    here or is named by Ray.

    `checkpointing` computes layers again in the backward pass instead of keeping what they computed.
    """

    device: str = "cpu"
    workers: int = 1
    backend: Backend = "inline"
    ray_address: str = "auto"
    checkpointing: bool = False

    @property
    def device_here(self) -> str:
        """What this process computes on itself: a Ray cluster may have devices that it has not."""
        if self.backend != "ray" or self.device == "cpu":
            return self.device
        try:
            return pick_device(self.device)
        except UsageError:
            return "cpu"


HERE = Machine()
"""This process, on its CPU."""


class _MachineFile(BaseModel):
    """A machine file, TOML: what command-line options do not say."""

    model_config = ConfigDict(extra="forbid", strict=True)
    device: str | None = None
    workers: Annotated[int, Field(ge=1)] | None = None
    backend: Backend | None = None
    ray_address: str | None = None
    checkpointing: bool = False


def machine_of(
    file: Path | None = None,
    *,
    device: str | None = None,
    workers: int | None = None,
    backend: str | None = None,
    ray_address: str | None = None,
    checkpointing: bool = False,
) -> Machine:
    """Options, else what the machine file says, else one process on the CPU. Several workers are processes by default.

    Raises UsageError for a file that is none, and for a device that is not here.
    """
    said = _read(file) if file is not None else _MachineFile()
    count = workers or said.workers or 1
    chosen = _backend(backend) or said.backend or ("processes" if count > 1 else "inline")
    if chosen == "inline" and count > 1:
        raise UsageError("several workers need --backend processes or ray")
    asked = device or said.device or "cpu"
    # Ray gives each worker a device that is free on its node.
    found = "cuda" if chosen == "ray" and asked.startswith("cuda") else pick_device(asked)
    address = ray_address or said.ray_address or "auto"
    return Machine(found, count, chosen, address, checkpointing or said.checkpointing)


def _backend(name: str | None) -> Backend | None:
    if name is None or name in get_args(Backend):
        return cast(Backend | None, name)
    raise UsageError(f"--backend {name}: say {', '.join(get_args(Backend))}")


def pick_device(asked: str) -> str:
    """torch's name of the device; `auto` is the first CUDA device if there is one. Raises UsageError."""
    import torch  # a command that only reads the chain does without

    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(asked)
    except RuntimeError as error:
        raise UsageError(f"--device {asked}: say cpu, cuda, cuda:N or auto") from error
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"--device {asked}: say cpu, cuda, cuda:N or auto")
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    if (device.index or 0) >= count:
        here = f"{count} CUDA devices are here" if count else _why_none()
        raise UsageError(f"--device {asked}: {here}; `deltaproof doctor` shows what was found")
    return asked


def _why_none() -> str:
    import torch

    if torch.version.cuda is None:
        plain = torch.__version__.partition("+")[0]
        return (
            f"torch {torch.__version__} is a build without CUDA: install torch {plain} with CUDA into this environment"
        )
    return f"no CUDA device is here (torch, built for CUDA {torch.version.cuda}, sees none: look at nvidia-smi)"


def _read(path: Path) -> _MachineFile:
    try:
        return _MachineFile.model_validate(tomllib.loads(path.read_text()))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"machine file {path}: {error}") from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise UsageError(f"machine file {path}: {problems}") from error
