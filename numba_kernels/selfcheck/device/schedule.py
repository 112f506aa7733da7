"""All checks of the kernels on the device, one after the other in this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from unittest import mock

from numba_kernels.cuda.host import program
from numba_kernels.selfcheck import forms, golden_data, product, special
from numba_kernels.selfcheck.device import far, graphs, memory_checker, places
from numba_kernels.selfcheck.device.on_device import OnDevice
from numba_kernels.selfcheck.device.why_not import why_no_device
from numba_kernels.selfcheck.extent import Extent
from numba_kernels.selfcheck.result import Result
from numba_kernels.selfcheck.schedule import Advance, Findings, Part, run_parts

EXACTLY = "norms, exactly"
EXACT_PATTERN = "clipnorm"


@contextmanager
def nothing_decided() -> Iterator[None]:
    """Make every norm on the device be computed exactly, as if no bound had decided it."""
    # Below 1, so that no lower end of an interval is the root of a negative number.
    with mock.patch.object(program, "error_of_sum", return_value=1 - 2.0**-20):
        yield


def run(extent: Extent, advance: Advance = lambda done, parts: None) -> Findings:
    """Check all kernels of an extent on the device.

    Parameters
    ----------
    extent : Extent
        Its processes do not matter: the device works for one at a time.
    advance : callable, optional
        Is told how far it is.
    """
    findings = Findings([], [])
    reason = why_no_device()
    if reason is not None:
        findings.not_run.append(reason)
        return findings
    run_parts(list(_parts(extent)), findings, None, advance)
    return findings


def _parts(extent: Extent) -> Iterator[tuple[str, Part]]:
    yield places.NAME, partial(places.check, extent)
    yield forms.NAME, partial(forms.check, extent, OnDevice)
    yield special.NAME, partial(special.check, extent, OnDevice)
    yield graphs.NAME, partial(graphs.check, extent)
    yield far.NAME, partial(far.check, extent)
    yield golden_data.NAME, partial(golden_data.check, extent, OnDevice)
    yield memory_checker.NAME, partial(memory_checker.check, extent)
    for share in product.shares(extent):
        yield product.NAME, partial(product.check_share, share, extent, OnDevice)
    for share in product.shares(extent):
        clipped = [values for values in share if any(EXACT_PATTERN in value for value in values)]
        yield EXACTLY, partial(_exactly, clipped, extent)


def _exactly(share: product.Share, extent: Extent) -> Result:
    with nothing_decided():
        return product.check_share(share, extent, OnDevice)
