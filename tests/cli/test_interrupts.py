"""An interruption that Python or a library dropped ends the command all the same; clean-up is not disturbed."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import os, signal, sys, time
import typer
from deltaproof.cli import run_app

app = typer.Typer()

class Finalizer:
    def __del__(self):
        os.kill(os.getpid(), signal.{signal})
        time.sleep(0.01)

@app.command()
def work() -> None:
    {body}

run_app(app, "program")
"""
IN_A_FINALIZER = """
    Finalizer()
    for _ in range(1000):
        time.sleep(0.01)
    print("went on")
"""
SWALLOWED = """
    try:
        os.kill(os.getpid(), signal.{signal})
        time.sleep(0.01)
    except:
        pass
    for _ in range(1000):
        time.sleep(0.01)
    print("went on")
"""
SLOW_CLEAN_UP = """
    try:
        os.kill(os.getpid(), signal.{signal})
        time.sleep(10)
    finally:
        try:
            raise OSError
        except OSError:
            for _ in range(150):
                time.sleep(0.01)
        print("cleaned up")
"""


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize(("body", "printed"), [(IN_A_FINALIZER, ""), (SWALLOWED, ""), (SLOW_CLEAN_UP, "cleaned up\n")])
def test_interrupted_command_ends_with_130_whatever_dropped_the_exception(body: str, printed: str, number: str) -> None:
    program = PROGRAM.replace("{body}", body.strip()).replace("{signal}", number)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (130, printed), done.stderr
