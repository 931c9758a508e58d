"""An interruption that Python or a library dropped ends the command all the same; clean-up is not disturbed."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import atexit, os, signal, sys, time
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
SENT_TWICE = """
    try:
        os.kill(os.getpid(), signal.{signal})
        time.sleep(10)
    finally:
        os.kill(os.getpid(), signal.{signal})
        time.sleep(0.01)
        print("cleaned up")
"""
SENT_AGAIN_AT_THE_END = """
    atexit.register(lambda: (os.kill(os.getpid(), signal.{signal}), time.sleep(0.01), print("went on")))
    os.kill(os.getpid(), signal.{signal})
    time.sleep(10)
"""


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize(
    ("body", "printed"),
    [(IN_A_FINALIZER, ""), (SWALLOWED, ""), (SLOW_CLEAN_UP, "cleaned up\n"), (SENT_TWICE, "cleaned up\n")],
)
def test_interrupted_command_ends_with_130_whatever_dropped_the_exception(body: str, printed: str, number: str) -> None:
    program = PROGRAM.replace("{body}", body.strip()).replace("{signal}", number)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (130, printed), done.stderr


def test_signal_at_the_very_end_leaves_without_a_traceback() -> None:
    program = PROGRAM.replace("{body}", SENT_AGAIN_AT_THE_END.strip()).replace("{signal}", "SIGTERM")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    said = "deltaproof: stopped; the same command continues where it was\n"
    assert (done.returncode, done.stdout, done.stderr) == (130, "", said)
