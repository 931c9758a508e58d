"""Bundle what the pages hash and pair with: noble-hashes and noble-curves of package-lock.json, as one plain script.

``python scripts/bundle_pages.py [--check]``. The bundle is committed, so that neither a wheel nor a checkout needs node
to show a page; a test looks whether it is what this script makes. After another version of a package: run it, commit.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["BUNDLE", "bundled", "esbuild"]

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCE = REPOSITORY / "scripts" / "noble.source.js"
BUNDLE = REPOSITORY / "deltaproof" / "pages" / "static" / "noble.js"
OPTIONS = (
    "--bundle", "--format=iife", "--global-name=Noble", "--minify", "--target=es2022", "--legal-comments=eof",
    "--banner:js=/*! noble-hashes and noble-curves, MIT License (c) 2022 Paul Miller */",
)  # fmt: skip


def esbuild() -> Path | None:
    """The bundler that `npm ci` installed for this machine; None without one."""
    found = sorted((REPOSITORY / "node_modules" / "@esbuild").glob("*/bin/esbuild"))
    return found[0] if found else None


def bundled(program: Path) -> str:
    """The script as the installed packages make it."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "noble.js"
        command = [str(program), str(SOURCE), *OPTIONS, f"--outfile={out}", "--log-level=error"]
        subprocess.run(command, cwd=REPOSITORY, check=True)
        return out.read_text("utf-8")


def main() -> int:
    """See the module."""
    program = esbuild()
    if program is None:
        print("no esbuild in node_modules: npm ci --ignore-scripts", file=sys.stderr)
        return 1
    text = bundled(program)
    if "--check" in sys.argv[1:]:
        return int(BUNDLE.read_text("utf-8") != text)
    BUNDLE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
