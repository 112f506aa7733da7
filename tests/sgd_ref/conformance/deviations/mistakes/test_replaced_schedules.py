"""A schedule that one mistake has replaced has no settings for another mistake to read."""

from __future__ import annotations

from sgd_ref.conformance.deviations import DEVIATIONS
from sgd_ref.conformance.deviations.mistakes.schedule_settings import SCHEDULE_SETTINGS
from sgd_ref.conformance.deviations.observed.schedules import Replaced


def test_each_of_them_takes_it() -> None:
    replaced = Replaced(lambda step: 0.5)
    for mistake in SCHEDULE_SETTINGS:
        deviating = DEVIATIONS[mistake.name].optimizer.deviating  # type: ignore[attr-defined]
        assert isinstance(deviating(replaced), Replaced)
