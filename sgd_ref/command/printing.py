"""Where the subcommands print: the one place that makes a console, so that no text is ever read as markup."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any, NoReturn

from rich.console import Console
from rich.text import Text

PIPE_WIDTH = 240

CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}
"""What moves the cursor or colours the terminal, and how it is shown."""


class OutputClosed(Exception):
    """Raised where nobody reads the output any more; not an OSError, which a command would report."""


class PlainConsole(Console):
    """A console that shows text as it is: no markup, no emoji, no colours for what looks like a number."""

    def __init__(self, *, stderr: bool = False, width: int | None = None) -> None:
        super().__init__(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a text as it is, with control characters made visible."""
        return super().render_str(visible(text), **options)

    def on_broken_pipe(self) -> NoReturn:
        """Leave it to `main` to end quietly; rich would exit with 1, which means that something diverges."""
        raise OutputClosed


def console() -> Console:
    """Return where to print results: as wide as the terminal, or as lines of one width in a pipe."""
    terminal = PlainConsole()
    return terminal if terminal.is_terminal else PlainConsole(width=PIPE_WIDTH)


def error_console() -> Console:
    """Return where to show progress, so that it never gets between results."""
    return PlainConsole(stderr=True)


def visible(text: str) -> str:
    r"""Return a text with its control characters written out, except tabs and ends of lines.

    >>> print(visible("\x1b[31mred"))
    \x1b[31mred
    """
    return text.translate(CONTROLS)


def say(out: Console, line: str) -> None:
    """Print one line, which a terminal may wrap and a pipe gets whole."""
    out.print(line, soft_wrap=True)


def write(text: str) -> None:
    """Write text to standard output as it is, for programs to read."""
    try:
        sys.stdout.write(text)
    except BrokenPipeError as problem:
        raise OutputClosed from problem


def complain(problem: object) -> None:
    """Print on standard error why nothing can be done."""
    print(f"sgd-ref: {visible(str(problem))}", file=sys.stderr)


def escape_what_cannot_be_encoded() -> None:
    r"""Let both streams write ``\xe9`` and the like where the terminal's encoding lacks a character."""
    for stream in (sys.stdout, sys.stderr):
        # A stream that somebody put there need not be a text file.
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def abandon_standard_output() -> None:
    """Discard the buffered output, once nobody reads standard output any more."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
