"""Does a wheel hold everything? Install it beside the dependencies alone and play a whole task with it.

``python scripts/check_wheel.py [--build-only | --wheel FILE] [--python INTERPRETER]``

The wheel (built first if none is named) goes into a new environment in a temporary folder. That environment sees the
other packages of INTERPRETER's installation, but not this repository. From an empty folder the installed command then
deploys the contracts on Anvil, funds a task, trains, verifies, takes the result and audits, each in a process of its
own, with the settings of deploy/Dockerfile: what the image does, without Docker. The node comes from this repository,
or from ``DELTAPROOF_ANVIL``. Exit status 1 with what failed.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
WHEELS = REPOSITORY / "build" / "wheel"


def main(arguments: list[str]) -> int:
    """Build, install, play."""
    parser = argparse.ArgumentParser(description="play a task with an installed wheel")
    parser.add_argument("--wheel", type=Path, help="the wheel; built, if left out")
    parser.add_argument("--python", default=sys.executable, help="interpreter with the dependencies installed")
    parser.add_argument("--build-only", action="store_true", help="build the wheel into build/wheel, play nothing")
    options = parser.parse_args(arguments)
    if options.build_only:
        print(build_wheel(WHEELS).relative_to(REPOSITORY))
        return 0
    wheel = options.wheel or build_wheel(WHEELS)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="deltaproof-wheel-") as folder:
        python = install(wheel, options.python, Path(folder, "environment"))
        empty = Path(folder, "empty")
        empty.mkdir()
        play = shutil.copy(REPOSITORY / "scripts" / "play_task.py", Path(folder, "play_task.py"))
        settings = environment() | image_settings(Path(folder, "state"))
        # -I: neither the current folder nor PYTHONPATH takes part.
        finished = subprocess.run([python, "-I", play, str(REPOSITORY)], cwd=empty, env=settings, check=False)
    print(f"{wheel.name}: {'complete' if finished.returncode == 0 else 'BROKEN'}, {time.monotonic() - began:.0f} s")
    return finished.returncode


def build_wheel(folder: Path) -> Path:
    """The only wheel in `folder`, made anew. Raises CalledProcessError."""
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, REPOSITORY / "scripts" / "compile_contracts.py"], check=True)
    # A copy of what git keeps, and the contracts: old build folders in the repository must not add files.
    with tempfile.TemporaryDirectory(prefix="deltaproof-source-") as source:
        copy_sources(Path(source))
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
        subprocess.run([*command, "--wheel-dir", folder, source], check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def copy_sources(target: Path) -> None:
    """The files of the working tree that git keeps or would keep, and the compiled contracts."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=REPOSITORY, capture_output=True, check=True).stdout.decode().split("\0")
    artifacts = (REPOSITORY / "deltaproof" / "chain" / "artifacts").glob("*.json")
    for name in [*filter(None, names), *(str(path.relative_to(REPOSITORY)) for path in artifacts)]:
        if (REPOSITORY / name).is_file() and not (REPOSITORY / name).is_symlink():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(REPOSITORY / name, target / name)


def install(wheel: Path, interpreter: str, folder: Path) -> Path:
    """An environment with the wheel and the interpreter's other packages; returns its Python."""
    subprocess.run([interpreter, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    theirs, ours = (
        subprocess.run([program, "-c", ask], capture_output=True, text=True, check=True).stdout.strip()
        for program in (interpreter, python)
    )
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel],
        check=True,
    )
    # A folder named in a .pth file is searched last, and .pth files inside it (our editable installation) are not read.
    Path(ours, "dependencies.pth").write_text(theirs + "\n")
    return python


def environment() -> dict[str, str]:
    """Ours without what leads back into the repository."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "DELTAPROOF_"))}
    anvil = os.environ.get("DELTAPROOF_ANVIL", str(REPOSITORY / "node_modules" / ".bin" / "anvil"))
    return kept | {"DELTAPROOF_ANVIL": anvil, "OMP_NUM_THREADS": "1"}


def image_settings(folder: Path) -> dict[str, str]:
    """The variables that deploy/Dockerfile sets, with `folder` in the place of its volume; PATH aside."""
    dockerfile = (REPOSITORY / "deploy" / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    (volume,) = re.findall(r"^VOLUME (\S+)$", dockerfile, flags=re.MULTILINE)
    (line,) = re.findall(r"^ENV (.+)$", dockerfile, flags=re.MULTILINE)
    pairs = dict(pair.split("=", 1) for pair in line.split())
    return {name: value.replace(volume, str(folder)) for name, value in pairs.items() if name != "PATH"}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
