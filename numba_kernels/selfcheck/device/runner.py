"""All checks of the kernels on the device, one after the other in this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from unittest import mock

from numba_kernels.cuda.host import program
from numba_kernels.selfcheck import golden_data, gradient_forms, product, special
from numba_kernels.selfcheck.device import compute_sanitizer, far, graphs, places
from numba_kernels.selfcheck.device.availability import why_no_device
from numba_kernels.selfcheck.device.on_device import OnDevice
from numba_kernels.selfcheck.extent import Extent
from numba_kernels.selfcheck.result import Result
from numba_kernels.selfcheck.runner import COMPARING, Advance, Outcome, Part, run_parts

EXACTLY = "norms, exactly"
EXACT_PATTERN = "clipnorm"


@contextmanager
def nothing_decided() -> Iterator[None]:
    """Let every norm on the device be computed exactly, as if no bound had decided it."""
    # The value is below 1, so that no lower end of an interval is the root of a negative number.
    with mock.patch.object(program, "error_of_sum", return_value=1 - 2.0**-20):
        yield


def run(extent: Extent, advance: Advance = lambda doing, done, parts: None) -> Outcome:
    """Check all kernels of an extent on the device.

    Parameters
    ----------
    extent : Extent
        The extent; its number of processes does not matter, since the device works for one at a time.
    advance : callable, optional
        Called with the progress.
    """
    outcome = Outcome([], [])
    reason = why_no_device()
    if reason is not None:
        outcome.not_run.append(reason)
        return outcome
    parts = list(_parts(extent))
    run_parts(parts, outcome, None, lambda done: advance(COMPARING, done, len(parts)))
    return outcome


def _parts(extent: Extent) -> Iterator[tuple[str, Part]]:
    yield places.NAME, partial(places.check, extent)
    yield gradient_forms.NAME, partial(gradient_forms.check, extent, OnDevice)
    yield special.NAME, partial(special.check, extent, OnDevice)
    yield graphs.NAME, partial(graphs.check, extent)
    yield far.NAME, partial(far.check, extent)
    yield golden_data.NAME, partial(golden_data.check, extent, OnDevice)
    yield compute_sanitizer.NAME, partial(compute_sanitizer.check, extent)
    for share in product.shares(extent):
        yield product.NAME, partial(product.check_share, share, extent, OnDevice)
    for share in product.shares(extent):
        clipped = [values for values in share if any(EXACT_PATTERN in value for value in values)]
        yield EXACTLY, partial(_exactly, clipped, extent)


def _exactly(share: product.Share, extent: Extent) -> Result:
    with nothing_decided():
        return product.check_share(share, extent, OnDevice)
