"""deltaproof: strangers tune a model together, prove every step of it, and are paid by what it is worth."""

__all__ = ["__version__"]

__version__ = "0.2.0.dev0"
"""The only place of the version: the wheel, `deltaproof --version` and the tag `vX.Y.Z` are made from it."""
