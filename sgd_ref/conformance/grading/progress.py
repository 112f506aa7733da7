"""The progress bar of long commands."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


def progress_bar(console: Console) -> Progress:
    """Return a progress bar with the present task, the number of finished tasks and the elapsed time.

    It is drawn only once a second, to keep logs of the terminal short, and removed at the end.

    Parameters
    ----------
    console : Console
        Nothing is shown if it is not a terminal.

    Examples
    --------
    >>> import io
    >>> with progress_bar(Console(file=io.StringIO())) as bar:
    ...     task = bar.add_task("ResNet-50", total=2)
    ...     bar.advance(task)
    ...     bar.tasks[0].completed
    1
    """
    # The tasks have names that a user chose.
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
