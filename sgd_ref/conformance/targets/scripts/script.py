"""A script that shows a divergence with nothing but the implementation and NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT32, Array
from sgd_ref.conformance.catalogue.case import Case, Record, Trajectory
from sgd_ref.conformance.targets.scripts.literals import bits_text, case_text, decimals
from sgd_ref.conformance.targets.scripts.within_bounds import WITHIN_BOUNDS, Bounds, allowed_text
from sgd_ref.conformance.trajectories.comparison import (
    COUNTERS,
    LISTS,
    SCALARS,
    compare,
    equal_bits,
    reported,
)
from sgd_ref.gradients import SparseRows
from sgd_ref.validation import reject_value

HEADER = '''\
"""{title}

{notes}
First difference seen{where}:
    {difference}

Exit status: 0 if every expected {wanted} is there, 1 if the implementation still differs.
{needs}"""

'''

NEEDS_THIS_PACKAGE = """
It needs sgd_ref, which knows how this case is written for the implementation.
"""

HELPERS = '''

def from_bits(dtype, shape, patterns):
    """Return the array whose elements, in row-major order, have these bit patterns."""
    dtype = np.dtype(dtype)
    unsigned = np.array([int(pattern, 16) for pattern in patterns.split()], f"u{dtype.itemsize}")
    return unsigned.view(dtype).reshape(shape)


def same_bits(first, second):
    """Return where two arrays of one dtype have the same bits; NaN equals NaN."""
    unsigned = f"u{first.itemsize}"
    same = np.ascontiguousarray(first).view(unsigned) == np.ascontiguousarray(second).view(unsigned)
    return same.reshape(first.shape) | (np.isnan(first) & np.isnan(second))


def shown(number):
    """Return the bit pattern of a number, and the number."""
    bits = int(np.asarray(number).reshape(1).view(f"u{number.dtype.itemsize}")[0])
    return f"0x{bits:0{2 * number.dtype.itemsize}x} ({float(number):.9g})"
'''

SPARSE_ROWS = '''

class SparseRows:
    """Rows of a gradient along its first axis; the other rows are zero, rows given twice are added."""

    def __init__(self, indices, values, shape):
        self.indices = np.array(indices, "int64")
        self.values = values
        self.shape = shape
        self.dtype = values.dtype

    def to_dense(self):
        """Return the whole gradient."""
        dense = np.zeros(self.shape, self.dtype)
        written = set()
        for index, row in zip(self.indices.tolist(), self.values):
            dense[index] = dense[index] + row if index in written else row
            written.add(index)
        return dense
'''

LAYOUTS = '''

def laid_out(array, layout):
    """Return an array of the same elements that lies in memory as the layout says."""
    # With an ellipsis, an array without axes stays an array.
    every_second = (..., *(slice(None, None, 2) for _ in array.shape))
    backwards = (..., *(slice(None, None, -1) for _ in array.shape))
    if layout == "transposed":
        return np.array(array.T, order="C").T
    if layout == "strided":
        larger = np.full([2 * length for length in array.shape], 7, array.dtype)
        larger[every_second] = array
        return larger[every_second]
    if layout == "reversed":
        return np.array(array[backwards], order="C")[backwards]
    if layout == "offset":
        larger = np.full(array.size + 6, 7, array.dtype)
        larger[3 : 3 + array.size] = array.ravel()
        return larger[3 : 3 + array.size].reshape(array.shape)
    # Broadcast: equal elements along an axis are there once.
    once = array
    for axis, length in enumerate(array.shape):
        first = tuple(slice(0, 1) if axis == other else slice(None) for other in range(array.ndim))
        if length > 1 and (once == once[first]).all():
            once = once[first]
    return np.broadcast_to(np.array(once, order="C"), array.shape)
'''

CASE = '''

class Case(SimpleNamespace):
    """Settings, variables, and the gradients of every call."""
'''

COMPARISON = '''

def compare(trajectory):
    """Print everything that differs from what is expected; return whether anything does."""
    if len(trajectory) != len(EXPECTED):
        print(f"{len(EXPECTED)} records are expected, got {len(trajectory)}")
        return True
    differs = False
    for call, (expected, record) in enumerate(zip(EXPECTED, trajectory)):
        for quantity, wanted in expected.items():
            if record.get(quantity) is None:
                print(f"call {call}, {quantity}: expected, and not reported any more")
                differs = True
            elif isinstance(wanted, list):
                arrays = zip(NAMES, wanted, record[quantity], strict=True)
                for position, (name, array, got) in enumerate(arrays):
                    what = f"call {call}, {quantity} of {name}"
                    seen = SEEN.get((call, quantity, position))
                    differs |= array_differs(what, array, np.asarray(got), seen)
            elif isinstance(wanted, int):
                if record[quantity] != wanted:
                    print(f"call {call}, {quantity}: expected {wanted}, got {record[quantity]}")
                    differs = True
            else:
                got = np.asarray(record[quantity], wanted.dtype)
                seen = SEEN.get((call, quantity, 0))
                differs |= array_differs(f"call {call}, {quantity}", wanted, got, seen)
    return differs


def array_differs(what, expected, got, seen):
    """Print the elements that differ; return whether any does."""
    if (got.dtype, got.shape) != (expected.dtype, expected.shape):
        print(f"{what}: expected {expected.dtype}{expected.shape}, got {got.dtype}{got.shape}")
        return True
    differing = np.argwhere(~same_bits(expected, got))
    for index in map(tuple, differing.tolist()):
        as_seen = seen is not None and same_bits(seen, got)[index]
        print(
            f"{what}{list(index)}: expected {shown(expected[index])}, got {shown(got[index])}"
            + (", as it was seen before" if as_seen else "")
        )
    return len(differing) > 0


if __name__ == "__main__":
    with np.errstate(all="ignore"):
        if compare(run(CASE)):
            sys.exit("the implementation still differs")
    print("every expected bit is there")
'''


def script_text(
    case: Case,
    expected: Trajectory,
    observed: Trajectory,
    how_to_run: str,
    implementation: str = "",
    processor: str | None = None,
    bounds: Bounds | None = None,
) -> str:
    """Return the text of a script that runs one case and says whether the implementation still differs.

    Parameters
    ----------
    case : Case
        Preferably a small case; see ``shrink``.
    expected, observed : trajectory
        The trajectories of the reference and of the implementation. Quantities that the implementation does
        not report are not compared.
    how_to_run : str
        Python code that imports the implementation and defines ``run(case)``; see ``registry.how_to_run``.
    implementation : str, optional
        Its name and version, for the first line.
    processor : str, optional
        The processor on which the difference was seen.
    bounds : Bounds, optional
        How far values may be from the expected ones, for an implementation that may round otherwise. By
        default, only the expected bits are right.

    Returns
    -------
    str
        A Python program that needs NumPy, the imports of `how_to_run`, and ml_dtypes if the case has
        bfloat16. Its exit status is 1 as long as a bit differs, or with bounds, as long as a value is outside
        of them.

    Raises
    ------
    ValueError
        If `observed` does not differ from `expected`.

    Examples
    --------
    >>> case = Case("a", {"learning_rate": 0.5}, ("w",), (np.ones(1),), ((np.ones(1),),))
    >>> expected, wrong = [{"variables": [np.array([0.5])]}], [{"variables": [np.array([1.5])]}]
    >>> expected[0] |= {"velocities": [], "averages": [], "accumulators": []}
    >>> script = script_text(case, expected, wrong, "from mine import run")
    >>> print(script[script.index("EXPECTED ="):script.index("# What was seen")].strip())
    EXPECTED = [
        {  # call 0
            "variables": [
                from_bits("float64", (1,), "3fe0000000000000"),  # 0.5
            ],
        },
    ]
    """
    first = bounds.violation if bounds is not None else compare(case, expected, observed).first
    if first is None:
        reject_value("observed", "the bits that are expected", "a trajectory that differs")
    title = f"{implementation or 'The implementation'} differs from what is documented: {case.id}"
    notes = case.notes.replace("\\", "/").replace('"""', "'''")
    where = "" if processor is None else f" ({processor})"
    needs = NEEDS_THIS_PACKAGE if "from sgd_ref" in how_to_run else ""
    parts = [
        HEADER.format(
            title=title,
            notes=notes,
            where=where,
            difference=first,
            wanted="bit" if bounds is None else "value",
            needs=needs,
        ),
        "import sys\nfrom types import SimpleNamespace\n\nimport numpy as np\n",
        "import ml_dtypes\n" if _has_bfloat16(case) else "",
        "\n" + how_to_run.strip() + "\n",
        HELPERS,
        SPARSE_ROWS if _has_sparse_rows(case) else "",
        LAYOUTS if case.layouts is not None else "",
        CASE,
        "\n\nCASE = " + case_text(case) + "\n",
        f"\nNAMES = {list(case.names)!r}\n",
        f"\n# What is documented{'' if bounds else ', bit by bit'}.\nEXPECTED = "
        + _expected(expected, observed)
        + "\n",
        "\n# What was seen instead.\nSEEN = " + _seen(expected, observed) + "\n",
        COMPARISON if bounds is None else allowed_text(bounds) + WITHIN_BOUNDS,
    ]
    return "".join(parts)


def _has_bfloat16(case: Case) -> bool:
    gradients = (gradient for call in case.gradients for gradient in call if gradient is not None)
    return any(array.dtype == BFLOAT16 for array in (*case.variables, *gradients))


def _has_sparse_rows(case: Case) -> bool:
    return any(isinstance(gradient, SparseRows) for call in case.gradients for gradient in call)


def _expected(expected: Trajectory, observed: Trajectory) -> str:
    lines = ["["]
    for call, (wanted, given) in enumerate(zip(expected, observed, strict=True)):
        lines.append(f"    {{  # call {call}")
        for quantity in reported(wanted, given):
            value: Any = wanted[quantity]
            if quantity in LISTS:
                lines.append(f'        "{quantity}": [')
                lines += [f"            {bits_text(array)},{decimals(array)}" for array in value]
                lines.append("        ],")
            elif quantity in SCALARS:
                number = np.asarray(value, FLOAT32)
                lines.append(f'        "{quantity}": {bits_text(number)},{decimals(number)}')
            else:
                lines.append(f'        "{quantity}": {int(value)},')
        lines.append("    },")
    return "\n".join([*lines, "]"])


def _seen(expected: Trajectory, observed: Trajectory) -> str:
    lines = ["{"]
    for call, (wanted, given) in enumerate(zip(expected, observed, strict=True)):
        for quantity in reported(wanted, given):
            if quantity in COUNTERS:
                continue
            pairs = zip(_as_arrays(quantity, wanted), _as_arrays(quantity, given), strict=True)
            for position, (want, got) in enumerate(pairs):
                if not equal_bits(want, got).all():
                    key = f'({call}, "{quantity}", {position})'
                    lines.append(f"    {key}: {bits_text(got)},{decimals(got)}")
    return "\n".join([*lines, "}"])


def _as_arrays(quantity: str, record: Record) -> list[Array]:
    if quantity in SCALARS:
        return [np.asarray(record[quantity], FLOAT32)]
    return [np.asarray(array) for array in record[quantity]]
