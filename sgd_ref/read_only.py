"""A list and a dict that refuse changes, because a change would silently have no effect."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn, TypeVar

Item = TypeVar("Item")
Value = TypeVar("Value")


def _refused(method: str) -> Callable[..., NoReturn]:
    def refuse(self: ReadOnlyList[Any] | ReadOnlyDict[Any], *_: Any, **__: Any) -> NoReturn:
        raise TypeError(f"{self.owner} cannot be changed by {method}: {self.way}")

    refuse.__name__ = method
    refuse.__doc__ = "Raise a TypeError that says what to do instead."
    return refuse


class ReadOnlyList(list[Item]):
    """A list of arrays that belong to an optimizer: you may write into the arrays, but not change the list.

    It is a list in every other respect. Its slices, sums and copies are plain lists.

    Parameters
    ----------
    items : iterable
        The items of the list.
    owner : str
        The name of the list in the error message.

    Examples
    --------
    >>> ReadOnlyList([1, 2], "velocities").append(3)
    Traceback (most recent call last):
    TypeError: velocities cannot be changed by append: write into an array of it, as in velocities[0][...] = 0
    >>> ReadOnlyList([1, 2], "velocities") + [3]
    [1, 2, 3]
    """

    def __init__(self, items: Iterable[Item], owner: str) -> None:
        super().__init__(items)
        self.owner = owner
        self.way = f"write into an array of it, as in {owner}[0][...] = 0"

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return list, (list(self),)

    def copy(self) -> list[Item]:
        """Return a plain list."""
        return list(self)

    append = _refused("append")
    clear = _refused("clear")
    extend = _refused("extend")
    insert = _refused("insert")
    pop = _refused("pop")
    remove = _refused("remove")
    reverse = _refused("reverse")
    sort = _refused("sort")
    __delitem__ = _refused("del")
    __setitem__ = _refused("assignment")
    __iadd__ = _refused("+=")
    __imul__ = _refused("*=")


class ReadOnlyDict(dict[str, Value]):
    """A dict of settings that refuses changes: its owner has read the settings already.

    Its copies are plain dicts.

    Parameters
    ----------
    items : mapping
        The items of the dict.
    owner : str
        The name of the dict in the error message.
    way : str
        What the user can do instead of changing the dict.

    Examples
    --------
    >>> ReadOnlyDict({"power": 1.0}, "config", "make another schedule")["power"] = 2.0
    Traceback (most recent call last):
    TypeError: config cannot be changed by assignment: make another schedule
    """

    def __init__(self, items: Mapping[str, Value], owner: str, way: str) -> None:
        super().__init__(items)
        self.owner = owner
        self.way = way

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return type(self), (dict(self), self.owner, self.way)

    def copy(self) -> dict[str, Value]:
        """Return a plain dict."""
        return dict(self)

    clear = _refused("clear")
    pop = _refused("pop")
    popitem = _refused("popitem")
    setdefault = _refused("setdefault")
    update = _refused("update")
    __delitem__ = _refused("del")
    __setitem__ = _refused("assignment")
    __ior__ = _refused("|=")
