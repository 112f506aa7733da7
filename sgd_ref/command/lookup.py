"""Look up what a text on the command line names: a case by a part of its id, or an element of a variable."""

from __future__ import annotations

import argparse
import re
from contextlib import nullcontext

from sgd_ref.conformance.catalogue.axes import from_labels
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.catalogue.combinations import PREFIX
from sgd_ref.conformance.catalogue.suiting import split_id, suited
from sgd_ref.conformance.catalogue.tiers import cases, make_case
from sgd_ref.conformance.golden.tools.recording import recorded
from sgd_ref.conformance.targets.target import Target

MOST_CANDIDATES = 20
"""The largest number of ids that an error lists when a text is a part of several."""

Element = tuple[str, tuple[int, ...]]
"""The name of a variable, and the index of one of its elements."""


def find_case(text: str) -> Case:
    """Return the case whose id equals, begins with or contains a text.

    Parameters
    ----------
    text : str
        An id of any tier, or a part of the id of one of the first or the standard cases. Words for shapes of
        variables may follow the id, as in ``axes/momentum/filled``: the case then leaves out variables of
        other shapes.

    Raises
    ------
    ValueError
        If there is no such case or more than one; the message lists them.

    Examples
    --------
    >>> find_case("nesterov-adds").id
    'named/nesterov-adds-once'
    """
    known = {case.id: case for tier in ("standard", "first") for case in cases(tier)}
    if text in known:
        return known[text]
    for found in ([i for i in known if i.startswith(text)], [i for i in known if text in i]):
        if len(found) == 1:
            return known[found[0]]
        if found:
            listed = "".join(f"\n  {case_id}" for case_id in found[:MOST_CANDIDATES])
            more = len(found) - MOST_CANDIDATES
            listed += f"\n  and {more} more" if more > 0 else ""
            raise ValueError(f"CASE must be a part of one id, got {text!r}, which {len(found)} have:{listed}")
    features = from_labels(text.removeprefix(f"{PREFIX}/").split("/"))
    if features is not None:
        return make_case(features)
    whole, shapes = split_id(text)
    case = suited(find_case(whole), {"shapes": shapes}) if whole and shapes else None
    if case is not None:
        return case
    raise ValueError(
        f"CASE must be an id or a part of one, got {text!r}, which no id has (sgd-ref golden list shows ids)"
    )


def find_recorded(path: str) -> tuple[Case, Target]:
    """Return the only case of a file of recorded trajectories, and what was recorded.

    Parameters
    ----------
    path : str
        The file; its name ends with ``.json``.

    Returns
    -------
    Case
        The case.
    Target
        An implementation that answers as was recorded, held to the rule that the file names.

    Raises
    ------
    ValueError
        If there is no such file, it has another form, or has several cases.
    """
    try:
        found = recorded(path)
    except OSError as problem:
        raise ValueError(f"CASE must be a file that can be read, or the id of a case: {problem}") from problem
    except (TypeError, ValueError) as problem:
        raise ValueError(f"CASE: {problem}") from problem
    if len(found) != 1:
        raise ValueError(f"CASE must be a file of one case, got {path!r} with {len(found)}")
    case, trajectory, held_to = found[0]
    return case, Target(
        "recorded",
        lambda: nullcontext(lambda _: trajectory),
        rule=held_to.rule,
        by_design=held_to.by_design,
    )


def element(text: str) -> Element:
    """Return the variable and the index that ``name[i,j]`` names.

    >>> element("kernel[6,4]"), element("scale[]")
    (('kernel', (6, 4)), ('scale', ()))
    """
    match = re.fullmatch(r"(.+)\[([\d,\s]*)\]", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form name[i,j]")
    return match[1], tuple(int(number) for number in match[2].replace(",", " ").split())
