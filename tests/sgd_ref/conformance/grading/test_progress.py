"""The bar: labelled, on a terminal alone, and with a label that is no markup."""

from __future__ import annotations

import io
import re

from rich.console import Console

from sgd_ref.conformance.grading.progress import progress_bar


def test_the_label_and_the_counts_are_shown_on_a_terminal() -> None:
    terminal = io.StringIO()
    with progress_bar(Console(file=terminal, force_terminal=True, width=100)) as bar:
        bar.add_task("good:boom: [red]x[/red]", total=9, completed=4)
    shown = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", terminal.getvalue())
    assert "good:boom: [red]x[/red] " in shown
    assert " 4/9 " in shown


def test_nothing_is_shown_elsewhere() -> None:
    pipe = io.StringIO()
    with progress_bar(Console(file=pipe)) as bar:
        bar.add_task("a", total=9, completed=4)
    assert pipe.getvalue() == ""


def test_a_minute_on_a_terminal_is_a_page_of_output() -> None:
    terminal = io.StringIO()
    with progress_bar(Console(file=terminal, force_terminal=True, width=80)) as bar:
        task = bar.add_task("compiling kernels", total=9)
        drawn = terminal.tell()
        for done in range(9):
            bar.update(task, completed=done)
        bar.refresh()
        frame = terminal.tell() - drawn
    assert frame * bar.live.refresh_per_second * 60 < 20_000
