"""Mistakes that implementations are known or likely to make in the update, its stages and its state.

Each mistake is a subclass of the reference that contradicts the definition in one place. If the evidence in a
docstring is an address, this mistake, or an equivalent one, was reported there.
"""

from sgd_ref.conformance.deviations.deviation import Deviation
from sgd_ref.conformance.deviations.mistakes.accumulation import ACCUMULATION
from sgd_ref.conformance.deviations.mistakes.averages import AVERAGES
from sgd_ref.conformance.deviations.mistakes.averages_in_updates import AVERAGES_IN_UPDATES
from sgd_ref.conformance.deviations.mistakes.clipping import CLIPPING
from sgd_ref.conformance.deviations.mistakes.clipping_limits import CLIPPING_LIMITS
from sgd_ref.conformance.deviations.mistakes.clipping_order import CLIPPING_ORDER
from sgd_ref.conformance.deviations.mistakes.counting import COUNTING
from sgd_ref.conformance.deviations.mistakes.damage import DAMAGE
from sgd_ref.conformance.deviations.mistakes.decay import DECAY
from sgd_ref.conformance.deviations.mistakes.decay_amount import DECAY_AMOUNT
from sgd_ref.conformance.deviations.mistakes.dynamic_scale import DYNAMIC_SCALE
from sgd_ref.conformance.deviations.mistakes.elements import ELEMENTS
from sgd_ref.conformance.deviations.mistakes.exclusion import EXCLUSION
from sgd_ref.conformance.deviations.mistakes.finiteness import FINITENESS
from sgd_ref.conformance.deviations.mistakes.full_launches import FULL_LAUNCHES
from sgd_ref.conformance.deviations.mistakes.gradients import GRADIENTS
from sgd_ref.conformance.deviations.mistakes.layouts import LAYOUTS
from sgd_ref.conformance.deviations.mistakes.long_axes import LONG_AXES
from sgd_ref.conformance.deviations.mistakes.long_runs import LONG_RUNS
from sgd_ref.conformance.deviations.mistakes.many_variables import MANY_VARIABLES
from sgd_ref.conformance.deviations.mistakes.missing import MISSING
from sgd_ref.conformance.deviations.mistakes.momentum_factors import MOMENTUM_FACTORS
from sgd_ref.conformance.deviations.mistakes.names_and_dtypes import NAMES_AND_DTYPES
from sgd_ref.conformance.deviations.mistakes.nesterov import NESTEROV
from sgd_ref.conformance.deviations.mistakes.norm import NORM
from sgd_ref.conformance.deviations.mistakes.overwriting import OVERWRITING
from sgd_ref.conformance.deviations.mistakes.parts_of_norms import PARTS_OF_NORMS
from sgd_ref.conformance.deviations.mistakes.precision import PRECISION
from sgd_ref.conformance.deviations.mistakes.reach import REACH
from sgd_ref.conformance.deviations.mistakes.restoring import RESTORING
from sgd_ref.conformance.deviations.mistakes.rows import ROWS
from sgd_ref.conformance.deviations.mistakes.running_mean import RUNNING_MEAN
from sgd_ref.conformance.deviations.mistakes.scaling import SCALING
from sgd_ref.conformance.deviations.mistakes.schedule_formulas import SCHEDULE_FORMULAS
from sgd_ref.conformance.deviations.mistakes.schedule_settings import SCHEDULE_SETTINGS
from sgd_ref.conformance.deviations.mistakes.schedules import SCHEDULES
from sgd_ref.conformance.deviations.mistakes.several_missing import SEVERAL_MISSING
from sgd_ref.conformance.deviations.mistakes.skipping import SKIPPING
from sgd_ref.conformance.deviations.mistakes.structure_of_state import STRUCTURE_OF_STATE
from sgd_ref.conformance.deviations.mistakes.transposed import TRANSPOSED
from sgd_ref.conformance.deviations.mistakes.update import UPDATE
from sgd_ref.conformance.deviations.mistakes.velocity import VELOCITY
from sgd_ref.conformance.deviations.mistakes.zero_factors import ZERO_FACTORS

_OF_STRUCTURE: tuple[Deviation, ...] = (
    *LAYOUTS,
    *STRUCTURE_OF_STATE,
    *REACH,
    *LONG_AXES,
    *LONG_RUNS,
    *TRANSPOSED,
    *SEVERAL_MISSING,
    *FULL_LAUNCHES,
    *MANY_VARIABLES,
    *NAMES_AND_DTYPES,
    *PARTS_OF_NORMS,
)

STRUCTURAL = frozenset(deviation.name for deviation in _OF_STRUCTURE)
"""The names of the mistakes about structure: layouts, several variables, large variables, and long runs.

Big cases are run only for these mistakes."""

MISTAKES: tuple[Deviation, ...] = (
    *DAMAGE,
    *RESTORING,
    *COUNTING,
    *SCHEDULES,
    *SCHEDULE_SETTINGS,
    *SCHEDULE_FORMULAS,
    *DYNAMIC_SCALE,
    *FINITENESS,
    *SKIPPING,
    *SCALING,
    *MISSING,
    *ROWS,
    *RUNNING_MEAN,
    *ACCUMULATION,
    *GRADIENTS,
    *CLIPPING,
    *CLIPPING_LIMITS,
    *CLIPPING_ORDER,
    *NORM,
    *DECAY,
    *DECAY_AMOUNT,
    *EXCLUSION,
    *ELEMENTS,
    *UPDATE,
    *VELOCITY,
    *MOMENTUM_FACTORS,
    *ZERO_FACTORS,
    *NESTEROV,
    *AVERAGES,
    *AVERAGES_IN_UPDATES,
    *OVERWRITING,
    *PRECISION,
    *_OF_STRUCTURE,
)
"""All mistakes, in the order of a call: its preparation, its stages, and mistakes of all stages. The mistakes
about structure come last."""
