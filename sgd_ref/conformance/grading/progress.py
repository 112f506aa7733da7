"""The bar that long commands show."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


def progress_bar(console: Console) -> Progress:
    """Return a bar with what is being done, how many are done, and for how long.

    Parameters
    ----------
    console : Console
        Nothing is shown where it is no terminal.

    Examples
    --------
    >>> import io
    >>> with progress_bar(Console(file=io.StringIO())) as bar:
    ...     task = bar.add_task("ResNet-50", total=2)
    ...     bar.advance(task)
    ...     bar.tasks[0].completed
    1
    """
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    return Progress(*columns, console=console, disable=not console.is_terminal)
