"""Arrays as JSON: every number as its bits, or a big array as a rule or a digest.

An array is ``{"dtype": "float32", "shape": [2, 1], "bits": "3f800000 80000000"}``: its elements in
row-major order, each the IEEE 754 bit pattern as one hexadecimal number of full width, most significant
digit first, one space between two of them. In C, ``strtoull(position, &position, 16)`` reads one after
the other. A single number, such as a learning rate, is an array of shape ``[]``.

In place of ``bits``, an array of a case may have ``made``: two numbers, from which ``catalogue.made`` makes
the array. An array of a record may have ``hash`` and ``window``, its digest.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import BY_NAME, Array, is_supported
from sgd_ref.conformance.catalogue.case import MadeFrom
from sgd_ref.conformance.catalogue.made import made
from sgd_ref.conformance.protocol.digest import Digest, window_positions
from sgd_ref.conformance.protocol.json_lines import Json
from sgd_ref.validation import integer_at_least, reject_type, reject_value, text


def array_to_json(array: Any, name: str = "array") -> Json:
    """Return an array, or a single number, of one of the four dtypes as JSON with its bits.

    Raises
    ------
    TypeError
        If its dtype is not in ``FORMATS``.

    Examples
    --------
    >>> array_to_json(np.array([[1.0], [-0.0]], "float32"))
    {'dtype': 'float32', 'shape': [2, 1], 'bits': '3f800000 80000000'}
    """
    array = np.asarray(array)
    if not is_supported(array.dtype):
        reject_type(name, array.dtype, f"an array of {', '.join(BY_NAME)}")
    size = array.dtype.itemsize
    patterns = array.ravel().view(f"u{size}").astype(f">u{size}")
    return {
        "dtype": array.dtype.name,
        "shape": list(array.shape),
        "bits": patterns.tobytes().hex(" ", size),
    }


def result_to_json(array: Any, name: str = "array") -> Json:
    """Return a computed array as JSON with its bits, with one pattern for every NaN.

    All NaNs count as equal, and the pattern that an operation gives depends on the processor.

    Raises
    ------
    TypeError
        If its dtype is not in ``FORMATS``.

    Examples
    --------
    >>> result_to_json(-np.array([np.nan, 1.0], "float32"))
    {'dtype': 'float32', 'shape': [2], 'bits': '7fc00000 bf800000'}
    """
    return array_to_json(with_one_nan(array), name)


def with_one_nan(array: Any) -> Array:
    """Return an array, or a single number, with one pattern for every NaN.

    >>> with_one_nan(-np.array(np.nan, "float32")).view(np.uint32) == 0x7FC00000
    np.True_
    """
    numbers: Array = np.asarray(array)
    if not is_supported(numbers.dtype):
        return numbers
    # The signalling NaNs of bfloat16 raise the processor's flag for invalid operations.
    with np.errstate(invalid="ignore"):
        is_nan = np.isnan(numbers)
    return np.asarray(np.where(is_nan, numbers.dtype.type(np.nan), numbers)) if is_nan.any() else numbers


def array_from_json(document: Any, name: str = "array") -> Array:
    """Return the array whose bits `document` has, writable.

    Raises
    ------
    TypeError
        If a part of `document` has the wrong type.
    ValueError
        If keys are missing or unknown, or the bits do not fit the dtype and the shape.

    Examples
    --------
    >>> array_from_json({"dtype": "bfloat16", "shape": [2], "bits": "3f80 0001"})
    array([1, 9.18355e-41], dtype=bfloat16)
    """
    check_keys(name, document, ("dtype", "shape", "bits"))
    dtype, shape = _form_from_json(document, name)
    bits = document["bits"]
    if not isinstance(bits, str):
        reject_type(f"{name}.bits", bits, "a string")
    size = dtype.itemsize
    patterns = bits.split()
    accepted = f"{math.prod(shape)} hexadecimal numbers of {2 * size} digits each"
    if len(patterns) != math.prod(shape) or any(len(pattern) != 2 * size for pattern in patterns):
        reject_value(f"{name}.bits", bits, accepted)
    try:
        packed = bytes.fromhex("".join(patterns))
    except ValueError:
        reject_value(f"{name}.bits", bits, accepted)
    array = np.frombuffer(packed, f">u{size}").astype(f"u{size}").view(dtype)
    try:
        return array.reshape(shape)
    # If one length is 0, the others may be any numbers.
    except ValueError:
        reject_value(f"{name}.shape", shape, "a shape that an array can have")


def made_to_json(numbers: MadeFrom, array: Array) -> Json:
    """Return an array of a big case as JSON with the numbers that it is made from.

    >>> made_to_json((3, 5), np.zeros(4, "float32"))
    {'dtype': 'float32', 'shape': [4], 'made': [3, 5]}
    """
    return {"dtype": array.dtype.name, "shape": list(array.shape), "made": list(numbers)}


def made_from_json(document: Any, name: str) -> tuple[MadeFrom, Array]:
    """Return the numbers that `made_to_json` wrote, and the array that is made from them."""
    check_keys(name, document, ("dtype", "shape", "made"))
    multiplier, offset = (integer_at_least(f"{name}.made", n, 0) for n in pair(name, document["made"]))
    dtype, shape = _form_from_json(document, name)
    return (multiplier, offset), made(multiplier, offset, shape, dtype)


def digest_to_json(digest: Digest) -> Json:
    """Return a digest as an object of JSON.

    >>> from sgd_ref.conformance.protocol.digest import digest_of
    >>> digest_to_json(digest_of(np.ones(1, "float16")))
    {'dtype': 'float16', 'shape': [1], 'hash': 15360, 'window': '3c00'}
    """
    return {
        "dtype": digest.dtype.name,
        "shape": list(digest.shape),
        "hash": digest.hash,
        "window": array_to_json(digest.window)["bits"],
    }


def digest_from_json(document: Any, name: str) -> Digest:
    """Return the digest that `digest_to_json` wrote."""
    check_keys(name, document, ("dtype", "shape", "hash", "window"))
    dtype, shape = _form_from_json(document, name)
    count = len(window_positions(math.prod(shape)))
    window = {"dtype": dtype.name, "shape": [count], "bits": document["window"]}
    hashed = integer_at_least(f"{name}.hash", document["hash"], 0)
    return Digest(dtype, shape, hashed, array_from_json(window, f"{name}.window"))


def pair(name: str, document: Any) -> list[Any]:
    """Return a part of a message that must be a list of two numbers."""
    if len(listed(name, document)) != 2:
        reject_value(name, document, "a list of two numbers")
    return listed(name, document)


def check_keys(name: str, document: Any, keys: Any) -> None:
    """Check that an object has certain keys and no others."""
    if set(named_parts(name, document)) != set(keys):
        reject_value(f"the keys of {name}", sorted(document), f"{sorted(keys)}")


def named_parts(name: str, document: Any) -> Json:
    """Return a part of a message that must be an object of JSON."""
    if not isinstance(document, dict):
        reject_type(name, document, "an object with named parts")
    return document


def listed(name: str, document: Any) -> list[Any]:
    """Return a part of a message that must be a list."""
    if not isinstance(document, list):
        reject_type(name, document, "a list")
    return document


def string(name: str, document: Any) -> str:
    """Return a part of a message that must be a string."""
    if not isinstance(document, str):
        reject_type(name, document, "a string")
    return document


def texts(name: str, document: Any) -> tuple[str, ...]:
    """Return a list of strings as a tuple."""
    return tuple(string(f"{name}[{index}]", element) for index, element in enumerate(listed(name, document)))


def _form_from_json(document: Json, name: str) -> tuple[np.dtype[Any], tuple[int, ...]]:
    dtype = BY_NAME.get(text(f"{name}.dtype", document["dtype"]))
    if dtype is None:
        reject_value(f"{name}.dtype", document["dtype"], f"one of {', '.join(BY_NAME)}")
    lengths = listed(f"{name}.shape", document["shape"])
    return dtype, tuple(integer_at_least(f"{name}.shape", length, 0) for length in lengths)
