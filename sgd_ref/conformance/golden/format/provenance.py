"""Where an entry comes from."""

from __future__ import annotations

from sgd_ref.conformance.golden.format.document import GENERATOR
from sgd_ref.definition import DEFINITION_VERSION


def provenance(source: str, seed: str | None = None, generator: str = GENERATOR) -> dict[str, str]:
    """Return which version of the definition, which command and which module made an entry.

    Parameters
    ----------
    source : str
        Name of the module that has the case.
    seed : str, optional
        The text that its random numbers depend on; see ``catalogue/numbers.py``.
    generator : str
        The program that wrote the entry.

    Examples
    --------
    >>> sorted(provenance("sgd_ref.conformance.catalogue.exact", "exact/momentum/float32"))
    ['definition_version', 'generator', 'seed', 'source']
    >>> "seed" in provenance("sgd_ref.conformance.golden.content.rejections")
    False
    """
    found = {"definition_version": DEFINITION_VERSION, "generator": generator, "source": source}
    return found if seed is None else found | {"seed": seed}
