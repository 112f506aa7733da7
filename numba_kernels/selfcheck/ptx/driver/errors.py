"""The errors of the simulated driver: it could not be loaded, or it refuses a call."""

from __future__ import annotations


class CouldNotLoad(RuntimeError):
    """Raised if PTX cannot be launched here, so that nothing is known about it."""


class Refused(Exception):
    """Raised if the driver answers with an error.

    Parameters
    ----------
    number : int
        The number of the error in ``CUresult``.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"CUDA error {number}")
        self.number = number


SUCCESS = 0
INVALID_VALUE = 1
OUT_OF_MEMORY = 2
INVALID_IMAGE = 200
INVALID_CONTEXT = 201
INVALID_HANDLE = 400
NOT_FOUND = 500
NOT_READY = 600
ILLEGAL_ADDRESS = 700
NOT_SUPPORTED = 801
CAPTURE_UNSUPPORTED = 900
CAPTURE_INVALIDATED = 901
CAPTURE_IMPLICIT = 906
UNKNOWN = 999
