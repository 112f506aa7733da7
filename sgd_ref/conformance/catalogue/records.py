"""The keys of a record, which is the state that an implementation reports after a call."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

STATE_ARRAYS = ("velocities", "averages", "accumulators")
RECORD_ARRAYS = ("variables", *STATE_ARRAYS)
RECORD_INTEGERS = ("iterations", "calls", "growth_counter")
RECORD_NUMBERS = ("loss_scale", "learning_rate")
RECORD_KEYS = (*RECORD_ARRAYS, *RECORD_INTEGERS, *RECORD_NUMBERS)


def check_keys(name: str, record: Collection[object]) -> None:
    """Check that a record has variables, and no unknown key.

    Parameters
    ----------
    name : str
        The name of the record, for the message.
    record : collection
        The record, or its keys.

    Raises
    ------
    ValueError
        If variables are missing, or a key is unknown; the message has the key that was probably meant.

    Examples
    --------
    >>> check_keys("record 0", {"variables": [], "velocitys": []})
    Traceback (most recent call last):
    ValueError: the keys of record 0 must not hold 'velocitys'; perhaps 'velocities' was meant
    """
    if "variables" not in record:
        found = ", ".join(map(repr, record)) or "none"
        raise ValueError(f"the keys of {name} must hold 'variables', got {found}")
    for key in record:
        if key not in RECORD_KEYS:
            meant = get_close_matches(str(key), RECORD_KEYS, 1)
            hint = f"perhaps {meant[0]!r} was meant" if meant else f"accepted are {', '.join(RECORD_KEYS)}"
            raise ValueError(f"the keys of {name} must not hold {key!r}; {hint}")
