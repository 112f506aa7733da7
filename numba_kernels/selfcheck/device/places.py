"""Cases for every library, every layout in device memory, and every size around packets and chunks."""

from __future__ import annotations

from collections.abc import Iterator

from numba_kernels.cuda.host.groups import CHUNK
from numba_kernels.selfcheck.comparison import by_kernels, compare_cases, timed
from numba_kernels.selfcheck.device.libraries import MOVES, optimizer_class, why_not
from numba_kernels.selfcheck.extent import Extent
from numba_kernels.selfcheck.making import dense_case, random_numbers
from numba_kernels.selfcheck.result import Result
from sgd_ref.conformance.catalogue.case import Case

NAME = "libraries and places"
START = "places"

SHAPES = (
    *((size,) for size in (0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33)),
    *((size,) for size in (CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 3)),
    *((), (5, 3), (2, 3, 4), (3, 0)),
)


def check(extent: Extent) -> Result:
    """Check all kernels of the extent with variables and gradients of every kind."""
    result = Result(NAME)
    with timed(result):
        for name, (library, move) in MOVES.items():
            for role in ("variables", "gradients"):
                cases = list(_cases(extent, f"{role}-{name}"))
                if not cases:
                    continue
                # It imports the library, which takes seconds.
                reason = why_not(library)
                if reason is not None:
                    result.skips(reason, len(cases))
                    continue
                plain = MOVES["numba" if library is None else library][1]
                moves = (move, plain) if role == "variables" else (plain, move)
                compare_cases(result, cases, extent, by_kernels(optimizer_class(*moves)))
    return result


def _cases(extent: Extent, place: str) -> Iterator[Case]:
    for dtype, variant in extent.kernels():
        identifier = f"{START}/{dtype.name}/{variant.name}/{place}"
        if extent.wants(identifier):
            yield dense_case(identifier, variant, SHAPES, dtype, random_numbers(extent, identifier))
