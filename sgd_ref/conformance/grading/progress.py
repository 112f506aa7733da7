"""The bar that long commands show."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


def progress_bar(console: Console) -> Progress:
    """Return a bar with what is being done, how many are done, and for how long.

    It is drawn once a second, which a log of the terminal can hold, and removed at the end.

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
    # What is being done has names that a user chose.
    label = TextColumn("{task.description}", markup=False)
    return Progress(
        label,
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
        refresh_per_second=1,
        transient=True,
    )
