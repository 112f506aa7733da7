"""The mutants that no golden file can notice, each with the reason.

A row is a pattern: whole functions where `before` and `after` are empty, else the lines that hold both.
"""

from __future__ import annotations

from typing import NamedTuple

from sgd_ref.conformance.audit.mutants.changes import Mutant


class Row(NamedTuple):
    """Mutants that are equivalent for one reason.

    Attributes
    ----------
    module : str
        The end of the name of the module, such as ``"norm"``.
    places : tuple of str
        The functions; none: all of the module.
    before, after : str
        A part of the line, and a part of the changed line.
    reason : str
        The reason why no file can show them.
    """

    module: str
    places: tuple[str, ...]
    before: str
    after: str
    reason: str


PYTHON = "only Python asks for it, and the tests of this module do"
NEVER_NEGATIVE = "counts, momentum and lengths are never negative"
FAST = "what is not decided fast is decided exactly, with the same result"
UNION = "what is required is added again"
MORE_BITS = "there are many more bits than anything needs"

ROWS = (
    # PYTHON
    Row("gradients", ("from_scipy", "SparseRows.__repr__"), "", "", PYTHON),
    Row("schedules.base", ("LearningRateSchedule.__eq__", "LearningRateSchedule.__repr__"), "", "", PYTHON),
    Row("schedules.base", ("FormulaSchedule.__setattr__",), "", "", PYTHON),
    Row("schedules.serialization", ("serialize",), "", "", PYTHON),
    Row("loss_scale", ("LossScaleOptimizer.from_config", "LossScaleOptimizer.variables"), "", "", PYTHON),
    Row("loss_scale", ("LossScaleOptimizer._assign_weights",), "unused", "", "nothing uses that weight"),
    Row("loss_scale", ("LossScaleOptimizer",), "", "", PYTHON),
    Row("loss_scale", ("LossScaleOptimizer.__init__",), "=", "", "cases state the scale and its growth"),
    Row("loss_scale", ("LossScaleOptimizer.apply",), "token", "", "no file has two threads"),
    Row("optimizer", ("SGD.perform",), "except", "", "no file interrupts a call"),
    Row("optimizer", ("Values",), "@dataclass", "", "nothing writes into values"),
    Row("arithmetic.exact", ("exact", "square_root", "norm", "Norm.__rtruediv__"), "", "", PYTHON),
    Row("arithmetic.formats", (), "HALF_FORMATS = ", "", PYTHON),
    Row("arithmetic.formats", ("is_supported",), "", "", "files have no other dtypes"),
    Row("arithmetic.rounded", ("flushes_subnormals", "check_subnormals_are_kept"), "", "", PYTHON),
    Row("base.counting", ("Counting.calls",), "None", "", "a file reads no count before the first call"),
    # Refusals
    Row(
        "gradients",
        ("SparseRows.__init__",),
        "except",
        "",
        "shapes and indices of files are lists of numbers",
    ),
    Row("gradients", ("SparseRows.__init__",), "self.indices.size == 0", "", "indices are read as integers"),
    Row("gradients", ("SparseRows.__init__",), "not self.shape or", " and ", "what follows refuses it alike"),
    Row("gradients", ("SparseRows.__init__",), "ndim", "", "indices of files are one list"),
    Row("gradients", ("SparseRows.__init__",), "reject_value", "", "it is the text of an error"),
    Row("gradients", ("SparseRows.__init__",), "outside =", " + ", "both hold for no index"),
    Row("gradients", ("SparseRows.__init__",), "outside =", " ^ ", "both hold for no index"),
    Row(
        "gradients",
        ("SparseRows.__init__",),
        "min(self.shape) < 0",
        "-1",
        "lengths in files are not negative",
    ),
    Row("schedules.base", (), '"step", step, 0', "-1", NEVER_NEGATIVE),
    Row("schedules.decay", (), '"step", step, 0', "-1", NEVER_NEGATIVE),
    Row("optimizer", ("SGD.update",), "momentum == 0", "momentum <= 0", NEVER_NEGATIVE),
    Row("optimizer", ("SGD.average",), "== 0", "<= 0", NEVER_NEGATIVE),
    Row("schedules.base", ("real_setting",), "== np.inf", ">= np.inf", "nothing is above infinity"),
    Row("schedules.base", ("length_setting",), "< np.inf", "!= np.inf", "nothing is above infinity"),
    Row("schedules.base", ("length_setting",), "< np.inf", "is not np.inf", "it is refused before"),
    Row("schedules.base", ("length_setting",), "not 0 < ", "not 0 != ", "what is negative is refused before"),
    # Arithmetic
    Row("schedules.base", ("FormulaSchedule.__call__",), "", "", FAST),
    Row("rule", ("global_clip_factor",), "+ (norm - norm)", "- (norm - norm)", "it is 0 or NaN"),
    Row("loss_scale", ("LossScaleOptimizer._assign_weights",), "", "", PYTHON),
    Row("base.counting", ("Counting.accumulates",), "!= 0", "> 0", NEVER_NEGATIVE),
    Row("rule", ("clip_by_value",), "> clipvalue", ">= clipvalue", "the limit itself stays"),
    Row("rule", ("clip_by_value",), "< -clipvalue", "<= -clipvalue", "the limit itself stays"),
    Row("schedules.cosine", ("_logarithm",), "", "", "the loops of period mend any first guess"),
    Row(
        "schedules.cosine",
        ("period",),
        "restarts = math.floor(_log",
        "",
        "the loops below mend any first guess",
    ),
    Row("schedules.cosine", ("period",), "while length > ", "while length >= ", "the next loop goes back"),
    Row("schedules.cosine", ("period",), "t_mul == 1", "t_mul <= 1", "a t_mul below 1 is refused"),
    Row("schedules.cosine", ("period",), "completed - restarts", "+ restarts", "the cosine has the period 2"),
    Row(
        "arithmetic.rounded",
        ("nearest",),
        "exponent -= 1",
        "",
        "exact results end in a power of two, or vanish",
    ),
    Row(
        "arithmetic.rounded", ("_power_of_two",), "exponent >= 0", "exponent >= 1", "2**0 is 1 in both forms"
    ),
    Row(
        "arithmetic.rounded",
        ("_to_odd_float32",),
        ") & (",
        ") * (",
        "a product of truths is their conjunction",
    ),
    Row("arithmetic.exact", (), "BITS = ", "", MORE_BITS),
    Row("arithmetic.exact", (), "_LONGEST_EXACT_POWER = ", "", MORE_BITS),
    Row("arithmetic.exact", (), "_LARGEST_LOGARITHM = ", "", "all such powers vanish or are infinite"),
    Row("arithmetic.rounded", ("_power_of_two",), "exponent >= 0", "exponent > 0", "2**0 is 1 in both forms"),
    Row(
        "arithmetic.rounded",
        ("nearest",),
        "magnitude < _power",
        "",
        "exact results end in a power of two, or vanish",
    ),
    Row("arithmetic.rounded", ("nearest",), "value > 0", "value >= 0", "0 is returned before"),
    Row("arithmetic.rounded", ("promoted",), "== 1", "<= 1", "there is always a dtype"),
    Row(
        "arithmetic.rounded",
        ("holds",),
        "== wide",
        "",
        "each dtype is one object, and the wider one is promoted",
    ),
    Row(
        "arithmetic.rounded",
        ("convert",),
        "array.dtype == dtype",
        "is dtype",
        "what has the dtype is only copied",
    ),
    Row("arithmetic.rounded", ("convert",), "np.float64 and", "", "rounding to odd leaves what is a float32"),
    Row("arithmetic.rounded", (), "@lru_cache", "", "a cache gives what it was given"),
    Row("norm", ("_square_root",), "root * root != scaled", "root * root < scaled", "it is never above"),
    Row(
        "schedules.serialization", ("_check_keys",), "required | optional", "required ^ ", "they are disjoint"
    ),
    Row("schedules.serialization", ("deserialize",), "set(parameters) - ", "set(parameters) | ", UNION),
    Row("schedules.serialization", ("deserialize",), "set(parameters) - ", "set(parameters) ^ ", UNION),
    Row(
        "schedules.serialization",
        ("deserialize",),
        "is parameter.empty",
        "== parameter.empty",
        "no default is equal",
    ),
    Row("schedules.serialization", ("deserialize",), '"module"', "", "files name no module"),
    Row("norm", ("euclidean_norm",), "enumerate(arrays)", "", "files have no other dtypes"),
    Row("norm", (), "BLOCK = ", "", "a block may have any size"),
    Row("norm", (), "EXTRA_BITS = ", "", MORE_BITS),
    Row("norm", ("_sum_of_squares",), "default=0", "", "no sum of squares is 0 at any scale"),
    Row("norm", ("_square_root",), "2 * root + between", "2 * root | between", "2 * root is even"),
    Row("norm", ("_square_root",), "2 * root + between", "2 * root ^ between", "2 * root is even"),
)


def reason_for(mutant: Mutant) -> str:
    """Return why a mutant cannot be noticed; empty if nothing is known."""
    if mutant.before.replace("strict=True", "strict=False") == mutant.after:
        return "the lists are equally long, as they are made here"
    for row in ROWS:
        is_place = not row.places or mutant.place in row.places
        is_line = row.before in mutant.before and row.after in mutant.after
        if mutant.module.endswith(f".{row.module}") and is_place and is_line:
            return row.reason
    return ""
