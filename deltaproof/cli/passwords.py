"""The password of a keystore or backup: from the environment, or from whoever sits at the terminal."""

from __future__ import annotations

import os
import sys

import typer

from deltaproof.errors import UsageError

__all__ = ["password_for", "unlocked"]


def password_for(what: str, *, twice: bool = False) -> str:
    """What DELTAPROOF_PASSWORD says, or a person, who types a new one `twice`. It is asked for on standard error, so
    that a script can still read what the command prints.

    Raises UsageError if it says nothing and there is nobody to ask.
    """
    from deltaproof.chain.rpc.keys import PASSWORD_VARIABLE

    if said := os.environ.get(PASSWORD_VARIABLE):
        return said
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(f"there is nobody to ask for the password of {what}: set {PASSWORD_VARIABLE}")
    return str(typer.prompt(f"password of {what}", hide_input=True, confirmation_prompt=twice, err=True))


def unlocked(key: str | None) -> str | None:
    """A `--key` as it was given; the password of a keystore is known from then on, to workers of this process as well.

    Raises UsageError where there is nobody to ask for it.
    """
    from deltaproof.chain.rpc.keys import PASSWORD_VARIABLE, encrypted_key

    if key and (what := encrypted_key(key)) is not None:
        os.environ[PASSWORD_VARIABLE] = password_for(what)
    return key
