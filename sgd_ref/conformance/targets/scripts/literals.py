"""Arrays and cases as Python code that gives the same bits again."""

from __future__ import annotations

import pprint
from collections.abc import Sequence

import numpy as np

from sgd_ref.arithmetic.formats import BFLOAT16, Array
from sgd_ref.conformance.catalogue.case import Case, Layouts, State
from sgd_ref.conformance.catalogue.layouts import CONTIGUOUS
from sgd_ref.gradients import SparseRows

LONGEST_NUMBER = 10
MOST_NUMBERS = 64
MOST_DECIMALS = 8
WIDTH = 100


def array_text(array: Array) -> str:
    """Return Python code for an array: its numbers if they are short, otherwise its bit patterns.

    >>> array_text(np.array([1.0, -0.5], "f4")), array_text(np.array([0.1], "f4"))
    ('np.array([1.0, -0.5], "float32")', 'from_bits("float32", (1,), "3dcccccd")')
    """
    numbers = [float(number) for number in array.reshape(-1).tolist()]
    is_short = all(np.isfinite(number) and len(repr(number)) <= LONGEST_NUMBER for number in numbers)
    # An array without elements has no literal that shows its shape.
    if is_short and numbers and len(numbers) <= MOST_NUMBERS:
        return f"np.array({array.astype(np.float64).tolist()!r}, {_dtype_text(array)})"
    return bits_text(array)


def bits_text(array: Array) -> str:
    """Return Python code for an array as the bit patterns of its elements.

    >>> bits_text(np.array([1.0, -0.0], "f2"))
    'from_bits("float16", (2,), "3c00 8000")'
    """
    size = array.itemsize
    patterns = np.ascontiguousarray(array).view(f"u{size}").astype(f">u{size}").tobytes().hex(" ", size)
    return f'from_bits({_dtype_text(array)}, {array.shape!r}, "{patterns}")'


def decimals(array: Array) -> str:
    """Return the numbers of a small array as a comment.

    >>> decimals(np.array([1.0, -0.5]))
    '  # 1, -0.5'
    """
    if not 0 < array.size <= MOST_DECIMALS:
        return ""
    return "  # " + ", ".join(f"{float(number):.9g}" for number in array.reshape(-1).tolist())


def case_text(case: Case) -> str:
    """Return a call of ``Case`` with keywords, such as ``Case(id='a', ...)`` over many lines.

    If the case states layouts, the code applies them with a function ``laid_out(array, layout)``.
    """
    scaling = case.loss_scaling
    layouts = case.layouts or Layouts((), ())
    lines = [
        f"    id={case.id!r},",
        f"    kind={case.kind!r},",
        f"    config={_indented(pprint.pformat(case.config, width=WIDTH, sort_dicts=False))},",
        f"    names={case.names!r},",
        f"    variables={_arrays(case.variables, layouts.variables)},",
        "    gradients=(",
    ]
    for call in case.gradients:
        names = layouts.gradients or (CONTIGUOUS,) * len(call)
        texts = [_gradient(gradient, name) for gradient, name in zip(call, names, strict=True)]
        lines += ["        (", *(f"            {text}," for text in texts), "        ),"]
    lines += [
        "    ),",
        f"    state={_state(case.state)},",
        f"    excluded_from_weight_decay={case.excluded_from_weight_decay!r},",
        "    loss_scaling=None,"
        if scaling is None
        else f"    loss_scaling=SimpleNamespace(initial_scale={float(scaling.initial_scale)!r}, "
        f"dynamic_growth_steps={scaling.dynamic_growth_steps!r}),",
        f"    learning_rate_calls={_rates(case)},",
        f"    finalize={case.finalize!r},",
        "    features=None,",
        f"    learning_rate_units={case.learning_rate_units!r},",
        "    exposes=(),",
        '    notes="",',
        f"    layouts={_layouts(case.layouts)},",
        # The arrays are written out in full.
        "    made=None,",
    ]
    return "Case(\n" + "\n".join(lines) + "\n)"


def _indented(text: str) -> str:
    return text.replace("\n", "\n    ")


def _rates(case: Case) -> str:
    rates = case.learning_rate_calls
    return repr(None if rates is None else tuple(float(rate) for rate in rates))


def _layouts(layouts: Layouts | None) -> str:
    if layouts is None:
        return "None"
    return f"SimpleNamespace(variables={layouts.variables!r}, gradients={layouts.gradients!r})"


def _arrays(arrays: Sequence[Array], layouts: Sequence[str] = ()) -> str:
    names = layouts or (CONTIGUOUS,) * len(arrays)
    pairs = zip(arrays, names, strict=True)
    lines = [f"\n        {_laid_out(array_text(array), name)}," for array, name in pairs]
    return "(" + "".join(lines) + "\n    )" if arrays else "()"


def _laid_out(text: str, layout: str) -> str:
    return text if layout == CONTIGUOUS else f'laid_out({text}, "{layout}")'


def _gradient(gradient: Array | SparseRows | None, layout: str) -> str:
    if gradient is None:
        return "None"
    if isinstance(gradient, SparseRows):
        return f"SparseRows({gradient.indices.tolist()}, {array_text(gradient.values)}, {gradient.shape!r})"
    return _laid_out(array_text(gradient), layout)


def _state(state: State | None) -> str:
    if state is None:
        return "None"
    lists = (
        f"    {name}={_arrays(getattr(state, name))}," for name in ("velocities", "averages", "accumulators")
    )
    scale = None if state.loss_scale is None else float(state.loss_scale)
    return _indented(
        "SimpleNamespace(\n"
        + f"    calls={state.calls!r},\n"
        + "\n".join(lists)
        + f"\n    loss_scale={scale!r},\n    growth_counter={state.growth_counter!r},\n)"
    )


def _dtype_text(array: Array) -> str:
    return "ml_dtypes.bfloat16" if array.dtype == BFLOAT16 else f'"{array.dtype.name}"'
