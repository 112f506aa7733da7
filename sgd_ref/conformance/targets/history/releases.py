"""The packages that are installed with a release of a framework."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sgd_ref.validation import reject_value

RELEASE = re.compile(r"[0-9]+(\.[0-9]+)*(rc[0-9]+|\.post[0-9]+)?(\+[a-z0-9.]+)?")


def parts(release: str) -> tuple[int, ...]:
    """Return the numbers of a release, which can be compared.

    >>> parts("3.15.1") > parts("3.4") and parts("2.13.0+cpu") == (2, 13, 0)
    True
    """
    return tuple(int(number) for number in re.findall(r"[0-9]+", release.partition("+")[0]))


def check_release(release: str) -> str:
    """Return the text of a release, after a check that it is one.

    Raises
    ------
    ValueError
        If the text is anything else, such as an option of an installer.

    Examples
    --------
    >>> check_release("3.4")
    '3.4'
    """
    if not RELEASE.fullmatch(release):
        reject_value("the release", release, "a version such as 3.4 or 2.13.0+cpu")
    return release


def _nothing(release: tuple[int, ...]) -> tuple[str, ...]:
    del release
    return ()


@dataclass(frozen=True)
class Releases:
    """The releases of one framework.

    Attributes
    ----------
    package : str
        The framework's name in the package registry.
    companions : callable
        A function from the numbers of a release to the requirements besides the framework.
    imports : tuple of str
        The modules that all scripts import, which are imported once.
    shown : tuple of str
        Other packages whose versions are kept, too.
    settings : mapping of str to str
        Environment variables for the process.
    """

    package: str
    companions: Callable[[tuple[int, ...]], tuple[str, ...]] = _nothing
    imports: tuple[str, ...] = ()
    shown: tuple[str, ...] = ("numpy",)
    settings: Mapping[str, str] = field(default_factory=dict)

    def requirements(self, release: str) -> str:
        """Return the text of a requirements file; two numbers stand for their newest patch release.

        >>> print(Releases("optax", lambda release: ("jax==0.4.30",)).requirements("0.2"), end="")
        optax==0.2.*
        jax==0.4.30
        """
        numbers = parts(check_release(release))
        exact = release if len(numbers) > 2 else f"{release}.*"
        return "".join(f"{line}\n" for line in (f"{self.package}=={exact}", *self.companions(numbers)))
