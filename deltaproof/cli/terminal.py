"""A terminal that shows what strangers wrote, and does nothing of what they wrote."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from deltaproof.reporting import printable_lines

__all__ = ["Terminal"]


class Terminal(Console):
    """Where commands print: a console whose text holds no escape codes, whoever wrote it.

    Attack: put escape codes into the reason of a contract, an error of a store, a key of a spec, or an attestation.
    They take back the line above (`FAIL: ...`), print another one, or fill the clipboard of whoever looks.
    """

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """See `Console`; what the console itself says to the terminal stays."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable_lines(text), style, control)
