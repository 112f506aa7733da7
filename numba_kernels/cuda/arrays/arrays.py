"""Arrays of Numba, CuPy or PyTorch on the device: their address, shape and dtype, without waiting for it.

No element is read or copied, and no stream is synchronised: the ``stream`` entry of
``__cuda_array_interface__`` asks for a synchronisation, and is ignored. The work goes to the stream on which
the library of the arrays works (`numba_kernels.cuda.arrays.streams`), so that it comes after the library's
earlier work.

This was written without real arrays on a device. It was tested with CuPy's arrays over memory that does not
exist, Numba's arrays with an invented pointer, and PyTorch's tensors on the host.
"""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np

from numba_kernels.shared import dlpack
from numba_kernels.shared.dlpack import contiguous_strides, dtype_named
from numba_kernels.shared.dlpack_specs import ArraySpecs
from sgd_ref.arithmetic.formats import BFLOAT16, Array

ACCEPTED = "an array on the device: of Numba, CuPy or PyTorch"

UNKNOWN_DEVICE = -1
"""The device number of an array without elements, if its library does not give one."""

TORCH_DEVICE_TYPE = "cuda"


class View(NamedTuple):
    """The properties of an array on a device that can be found without the device.

    Attributes
    ----------
    address : int
        The address of its first element.
    shape : tuple of int
        The lengths of the axes.
    strides : tuple of int
        The strides in bytes; they may be negative or zero.
    dtype : dtype
        The dtype of the elements, which kernels may not accept.
    device : int
        The number of the device, or `UNKNOWN_DEVICE`.
    is_read_only : bool
        Whether its library forbids writing to it. CuPy, Numba and PyTorch never do.
    """

    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype[Any]
    device: int
    is_read_only: bool


def view(name: str, array: Any) -> View:
    """Return the address, the shape, the strides and the dtype of an array.

    The view keeps nothing alive: its address is valid as long as the caller holds the array.

    Parameters
    ----------
    name : str
        The name of the array in error messages.
    array : object
        A device array of Numba, a ``cupy.ndarray``, a ``torch.Tensor`` on a CUDA device, also one that
        requires a gradient, or an object with ``__cuda_array_interface__`` or DLPack's two methods.

    Raises
    ------
    TypeError
        If it is anything else, or an array in the memory of the host.
    ValueError
        If its memory does not hold its elements unchanged, or if it has elements but no memory.

    Examples
    --------
    >>> view("w", np.zeros(3))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    TypeError: w must be an array on the device: ... or PyTorch, got an ndarray, in the host's memory
    """
    torch, cupy = sys.modules.get("torch"), sys.modules.get("cupy")
    if torch is not None and isinstance(array, torch.Tensor):
        found = _of_torch(name, array, torch)
    elif cupy is not None and isinstance(array, cupy.ndarray):
        found = View(array.data.ptr, array.shape, array.strides, array.dtype, array.data.device_id, False)
    elif getattr(type(array), "__cuda_ndarray__", False):
        found = _of_numba(array)
    elif isinstance(array, (np.ndarray, np.generic)):
        _refuse(name, f"an {type(array).__name__}, in the host's memory")
    elif hasattr(array, "__cuda_array_interface__"):
        found = _of_interface(name, array)
    elif hasattr(array, "__dlpack__") and hasattr(array, "__dlpack_device__"):
        found = _of_dlpack(name, array)
    else:
        _refuse(name, f"an object of type {type(array).__name__}")
    if found.address == 0 and 0 not in found.shape:
        raise ValueError(
            f"{name} must have memory, got an array of shape {found.shape} at address 0 "
            "(a view of mapped memory of Numba's is one, and a tensor that stands for others)"
        )
    return found


class Header(np.ndarray[Any, Any]):
    """An ndarray that stands for memory which the processor cannot read: see `header`."""

    # An operation on the elements, such as a comparison, then raises a TypeError and does not crash.
    __array_ufunc__ = None  # type: ignore[assignment]

    def __array_function__(
        self, function: Callable[..., Any], types: Any, arguments: Any, keywords: Any
    ) -> Any:
        """Allow only functions that work on addresses."""
        if function not in (np.shares_memory, np.may_share_memory):
            return NotImplemented
        return super().__array_function__(function, types, arguments, keywords)

    def __repr__(self) -> str:
        return f"<{self.dtype} of shape {self.shape} on the device>"

    __str__ = __repr__


class _Memory:
    """Memory in the form that NumPy needs to make an array of it."""

    def __init__(self, interface: dict[str, Any]) -> None:
        self.__array_interface__ = interface


def header(view: View) -> Array:
    """Return an ndarray of the shape, strides, dtype, writability and address of an array on the device.

    It is for the checks of ``sgd_ref`` on dtypes, shapes, writability, identity and overlapping memory, which
    use no other property. This is safe. NumPy only computes with addresses when it makes an array from an
    address, views it as another dtype, or looks for shared memory; it reads an element only for an operation
    on elements.

    The elements must never be touched: never index, copy, convert or pickle a header. Printing, comparing and
    computing are harmless, because a subclass can refuse them, and this one does. An array without elements
    has an address of NumPy's own.

    Examples
    --------
    >>> nowhere = View(0x7F0000000000, (2, 3), (-64, 8), BFLOAT16, 0, True)
    >>> header(nowhere), header(nowhere).strides, header(nowhere).flags.writeable
    (<bfloat16 of shape (2, 3) on the device>, (-64, 8), False)
    """
    # Bytes without a type, since bfloat16 and other dtypes that NumPy does not know have no typestr.
    memory = {
        "version": 3,
        "typestr": f"|V{view.dtype.itemsize}",
        "shape": view.shape,
        "strides": view.strides,
        "data": (view.address, view.is_read_only),
    }
    return np.asarray(_Memory(memory)).view(view.dtype).view(Header)


class Expected:
    """The expected shape, strides, dtype and device of each of many arrays, for the quick check.

    Parameters
    ----------
    views : sequence of View
        The expected shape, strides, dtype and device at each position; addresses may differ. All dtypes are
        float16, bfloat16, float32 or float64.

    Notes
    -----
    For 200 arrays the addresses take (measured with what stands in for them on the host, on one quiet core
    of a Zen 4) 12 microseconds for tensors of a PyTorch that offers DLPack's function in C
    (https://github.com/pytorch/pytorch/pull/169724), 82 for those of another one, 56 for arrays of CuPy, and
    137 for those of Numba. The full check of each, with `view`, `header` and the checks of ``sgd_ref``, takes
    2,000. The first call with tensors compiles for a second.
    """

    def __init__(self, views: Sequence[View]) -> None:
        self._views = list(views)
        self._misalignments = np.array([view.dtype.itemsize - 1 for view in views], np.int64)
        self._have_elements = np.array([0 not in view.shape for view in views])
        self._specs = [(view.shape, view.strides, view.dtype, view.device) for view in views]
        self._steps = [tuple(step // view.dtype.itemsize for step in view.strides) for view in views]
        # PyTorch negates the imaginary part of a conjugate only when it is used. The elements of such a part
        # are two apart, so only arrays with this stride can be one.
        self._perhaps_negated = [
            index
            for index, view in enumerate(views)
            if math.prod(view.shape) == 1
            or view.strides != contiguous_strides(view.shape, view.dtype.itemsize)
        ]
        self._forms_in_torch: list[tuple[Any, ...]] = []
        self._compiled: ArraySpecs | None = None

    def addresses(self, arrays: list[Any]) -> Array | None:
        """Return the addresses of the arrays, if they match and all belong to one library.

        Parameters
        ----------
        arrays : list
            Any objects. No other thread may change the list during the call.

        Returns
        -------
        ndarray of int64, or None
            None means that the full check is needed, not that anything is wrong.
        """
        if len(arrays) != len(self._views) or not arrays:
            return None
        torch, cupy = sys.modules.get("torch"), sys.modules.get("cupy")
        kind = type(arrays[0])
        if torch is not None and kind in (torch.Tensor, torch.nn.Parameter):
            addresses = self._of_tensors(arrays, torch)
        elif cupy is not None and kind is cupy.ndarray:
            addresses = self._of_cupy(arrays, kind)
        else:
            addresses = self._of_any(arrays)
        if addresses is None or (addresses & self._misalignments).any():
            return None
        # PyTorch can take away the memory of a tensor and give it back later.
        return None if ((addresses == 0) & self._have_elements).any() else addresses

    def _of_tensors(self, arrays: list[Any], torch: Any) -> Array | None:
        kinds = (torch.Tensor, torch.nn.Parameter)
        describe = dlpack.describing_function(torch.Tensor)
        if describe:
            if self._compiled is None:
                self._compiled = self._compiled_specs()
            addresses = None if self._compiled is None else self._compiled.addresses(describe, arrays, kinds)
        else:
            addresses = self._of_tensors_in_python(arrays, torch, kinds)
        if addresses is None or any(arrays[index].is_neg() for index in self._perhaps_negated):
            return None
        return addresses

    def _compiled_specs(self) -> ArraySpecs | None:
        devices = {view.device for view in self._views}
        if len(devices) != 1:
            return None
        return ArraySpecs(
            [view.shape for view in self._views],
            self._steps,
            [view.dtype for view in self._views],
            dlpack.CUDA,
            devices.pop(),
        )

    def _of_tensors_in_python(self, arrays: list[Any], torch: Any, kinds: tuple[type, type]) -> Array | None:
        if not self._forms_in_torch:
            self._forms_in_torch = [
                (view.shape, steps, getattr(torch, view.dtype.name), view.device)
                for view, steps in zip(self._views, self._steps, strict=True)
            ]
        if not all(type(array) in kinds and array.layout is torch.strided for array in arrays):
            return None
        if [(a.shape, a.stride(), a.dtype, a.get_device()) for a in arrays] != self._forms_in_torch:
            return None
        return np.array([array.data_ptr() for array in arrays], np.int64)

    def _of_cupy(self, arrays: list[Any], kind: type) -> Array | None:
        if not all(type(array) is kind for array in arrays):
            return None
        if [(a.shape, a.strides, a.dtype, a.data.device_id) for a in arrays] != self._specs:
            return None
        return np.array([array.data.ptr for array in arrays], np.int64)

    def _of_any(self, arrays: list[Any]) -> Array | None:
        try:
            views = [view("", array) for array in arrays]
        except (TypeError, ValueError):
            # The full check finds the array again, and names it.
            return None
        if [(a.shape, a.strides, a.dtype, a.device) for a in views] != self._specs:
            return None
        return np.array([array.address for array in views], np.int64)


def overlap(starts: Array, sizes: Array, occupied: Array) -> bool:
    """Whether one of several pieces of memory overlaps occupied memory.

    Parameters
    ----------
    starts, sizes : ndarray of int64, shape (n,)
        The first address and the number of bytes of each piece; pieces without bytes overlap nothing.
    occupied : ndarray of int64, shape (2 * m,)
        The first address of each occupied region, and the first address after it, in increasing order.

    Examples
    --------
    >>> occupied = np.array([100, 200, 300, 400])
    >>> [overlap(np.array([start]), np.array([50]), occupied) for start in (50, 51, 199, 200, 250, 251)]
    [False, True, True, False, False, True]
    """
    # Only the first region that ends after a piece begins can be the first region that the piece overlaps.
    next_region = np.searchsorted(occupied[1::2], starts, side="right")
    begins = np.append(occupied[::2], np.iinfo(np.int64).max)[next_region]
    return bool(((begins < starts + sizes) & (sizes > 0)).any())


def _refuse(name: str, given: str) -> NoReturn:
    raise TypeError(f"{name} must be {ACCEPTED}, got {given}")


def _of_torch(name: str, tensor: Any, torch: Any) -> View:
    # Neither protocol is used here: both refuse a tensor that requires a gradient, and DLPack refuses a
    # tensor that is not on the current device; and until https://github.com/pytorch/pytorch/pull/143042 the
    # interface called bfloat16 float16 (https://github.com/pytorch/pytorch/pull/129621).
    if tensor.device.type != TORCH_DEVICE_TYPE:
        _refuse(name, f"a tensor on {tensor.device}")
    if tensor.layout is not torch.strided:
        _refuse(name, f"a tensor of layout {tensor.layout}")
    if tensor.is_neg():
        raise ValueError(
            f"{name} must hold its elements as they are, got a tensor that PyTorch has still to negate; "
            "call its method resolve_neg"
        )
    dtype_name = str(tensor.dtype).removeprefix("torch.")
    dtype = dtype_named(dtype_name)
    if dtype is None:
        _refuse(name, f"a tensor of {dtype_name}")
    strides = tuple(step * dtype.itemsize for step in tensor.stride())
    return View(tensor.data_ptr(), tuple(tensor.shape), strides, dtype, tensor.get_device(), False)


def _of_numba(array: Any) -> View:
    simulated = getattr(array, "_ary", None)
    if isinstance(simulated, np.ndarray):
        address, is_read_only = simulated.__array_interface__["data"]
        return View(address, simulated.shape, simulated.strides, simulated.dtype, 0, is_read_only)
    # The interface is not used here, since in it Numba calls a broadcast array contiguous.
    address = array.device_ctypes_pointer.value or 0
    pointer = getattr(array, "gpu_data", None)
    device = UNKNOWN_DEVICE if pointer is None else pointer.context.device.id
    return View(address, tuple(array.shape), tuple(array.strides), array.dtype, device, False)


def _of_interface(name: str, array: Any) -> View:
    interface = array.__cuda_array_interface__
    if interface.get("mask") is not None:
        _refuse(name, "an array with a mask")
    try:
        dtype = np.dtype(interface["typestr"])
    except TypeError:
        _refuse(name, f"an array of typestr {interface['typestr']!r}")
    stated = getattr(array, "dtype", None)
    if dtype == np.dtype("V2") and stated == BFLOAT16:
        # The typestr of bfloat16 only says that an element has two bytes.
        dtype = BFLOAT16
    shape, strides = tuple(interface["shape"]), interface.get("strides")
    strides = contiguous_strides(shape, dtype.itemsize) if strides is None else tuple(strides)
    address, is_read_only = interface["data"]
    address = address or 0
    if hasattr(array, "__dlpack_device__"):
        device = _checked_device(name, *array.__dlpack_device__())
    else:
        device = _device_of_memory(name, address) if address else UNKNOWN_DEVICE
    return View(address, shape, strides, dtype, device, bool(is_read_only))


def _of_dlpack(name: str, array: Any) -> View:
    # The device is asked for first: to export an array that is on no device, a library may copy it or refuse.
    _checked_device(name, *array.__dlpack_device__())
    try:
        export = dlpack.exported(array)
    except BufferError as error:
        _refuse(name, str(error))
    device = _checked_device(name, export.device_type, export.device)
    return View(export.address, export.shape, export.strides, export.dtype, device, export.is_read_only)


def _checked_device(name: str, device_type: Any, device: Any) -> int:
    if device_type not in (dlpack.CUDA, dlpack.CUDA_MANAGED):
        where = "the host's memory" if device_type == dlpack.HOST else "memory that is not CUDA's"
        _refuse(name, f"an array in {where} (DLPack's device type {int(device_type)})")
    return int(device)


def _device_of_memory(name: str, address: int) -> int:
    """Return the device of the memory at an address, which the driver knows without waiting."""
    driver: Any = importlib.import_module("cuda.bindings.driver")
    ordinal = driver.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
    error, device = driver.cuPointerGetAttribute(ordinal, address)
    if error != driver.CUresult.CUDA_SUCCESS:
        _refuse(name, f"an array in memory that CUDA does not know ({error.name})")
    return int(device)
