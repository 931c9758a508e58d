"""deltaproof: strangers tune a model together, prove every step of it, and are paid by what it is worth.

`Task` and `Network` are the commands for programs (docs/python.md). Importing the package loads no library before one
of them is used.
"""

from typing import TYPE_CHECKING

from deltaproof.lazy import names_of

if TYPE_CHECKING:
    from deltaproof.api.lives import WorkingLife
    from deltaproof.api.network import Network
    from deltaproof.api.tasks import Task

__all__ = ["Network", "Task", "WorkingLife", "__version__"]

__version__ = "0.2.0.dev0"
"""The only place of the version: the wheel, `deltaproof --version` and the tag `vX.Y.Z` are made from it."""

__getattr__ = names_of(__name__, {"Network": "api.network", "Task": "api.tasks", "WorkingLife": "api.lives"})
