"""Printing of the subcommands: only this module makes a console, so that no text is ever read as markup."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any, NoReturn

from rich.console import Console
from rich.text import Text

PIPE_WIDTH = 240

CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}
"""Control characters, which could move the cursor or colour the terminal, and the text shown for each."""


class OutputClosed(Exception):
    """Raised when nobody reads the output any more; not an OSError, since a command would report that."""


class PlainConsole(Console):
    """A console that shows text as it is: no markup, no emoji, no colours for numbers."""

    def __init__(self, *, stderr: bool = False, width: int | None = None) -> None:
        super().__init__(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a text as it is, with control characters made visible."""
        return super().render_str(visible(text), **options)

    def on_broken_pipe(self) -> NoReturn:
        """Let `main` end the command quietly; rich would exit with 1, which means that something diverges."""
        raise OutputClosed


def console() -> Console:
    """Return the console for results: as wide as the terminal, or of a fixed width in a pipe."""
    terminal = PlainConsole()
    return terminal if terminal.is_terminal else PlainConsole(width=PIPE_WIDTH)


def error_console() -> Console:
    """Return the console for progress, which is separate so that progress never appears among results."""
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
    """Print on standard error why the command cannot go on."""
    print(f"sgd-ref: {visible(str(problem))}", file=sys.stderr)


def escape_what_cannot_be_encoded() -> None:
    r"""Let both streams write ``\xe9`` and the like where the terminal's encoding lacks a character."""
    for stream in (sys.stdout, sys.stderr):
        # A stream that other code has put there may not be a text file.
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def abandon_standard_output() -> None:
    """Discard the buffered output, once nobody reads standard output any more."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
