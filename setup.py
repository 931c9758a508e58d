"""What pyproject.toml cannot say: a wheel without the compiled contracts would be broken, so none is built."""

from __future__ import annotations

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ARTIFACTS = Path("deltaproof", "chain", "artifacts")


class BuildWithContracts(build_py):
    """The ordinary build. An editable install reads the contracts where `make contracts` puts them later."""

    def run(self) -> None:
        if not self.editable_mode and not any(ARTIFACTS.glob("*.json")):
            raise SystemExit(f"{ARTIFACTS} holds no compiled contract; say `make wheel`, which compiles them first")
        super().run()


setup(cmdclass={"build_py": BuildWithContracts})
