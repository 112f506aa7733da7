"""A target that runs in an environment of its own: its process, its profile, and its known deviations."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from sgd_ref.conformance.catalogue.case import Case, Implementation
from sgd_ref.conformance.deviations import DEVIATIONS, is_contradiction
from sgd_ref.conformance.diagnosis.attribution import explain, explain_within_bounds
from sgd_ref.conformance.diagnosis.candidates import suiting
from sgd_ref.conformance.grading.answering import basis_of
from sgd_ref.conformance.grading.velocities import DOCUMENTED, Velocities
from sgd_ref.conformance.grading.verdict import Profile, Verdict
from sgd_ref.conformance.protocol.worker import Worker
from sgd_ref.conformance.targets.environments import places
from sgd_ref.conformance.targets.environments.environment import Environment
from sgd_ref.conformance.targets.history.releases import Releases
from sgd_ref.conformance.targets.known import KnownFailure, known_failure
from sgd_ref.conformance.targets.target import CannotRun, Family, Target

SERVING = Path(__file__).with_name("serving.py")

CODE = """\
from sgd_ref.conformance.targets.environments.in_scripts import run_in_environment

# The framework is installed apart: sgd-ref targets install {name}
run = run_in_environment("{name}")
"""

TIME_LIMIT = 60.0
"""The default limit, in seconds, for the answer to one case."""

# The published results come from runs without a GPU, and with one thread.
ENVIRONMENT = {"CUDA_VISIBLE_DEVICES": "-1", "OMP_NUM_THREADS": "1"}


class Isolated(Worker):
    """The process of a target, which runs in the environment of the target.

    Parameters
    ----------
    command : sequence of str
        The program and its arguments.
    profile : Profile
        The features that its framework offers, and the rule that it is held to.
    environment : mapping of str to str
        Variables for the process.
    time_limit : float, default 60
        Seconds for the answer to one case.
    """

    def __init__(
        self,
        command: Sequence[str],
        profile: Profile,
        environment: Mapping[str, str],
        time_limit: float = TIME_LIMIT,
    ) -> None:
        variables = {**places.clean(dict(os.environ)), **ENVIRONMENT, **environment}
        super().__init__(command, variables, time_limit=time_limit, start_limit=120.0)
        self.profile = profile


@dataclass(frozen=True)
class Isolation:
    """The description of a target with an environment of its own.

    Attributes
    ----------
    environment : Environment
        The environment that it runs in.
    offers : tuple of str
        The offered features, in the words of the handshake.
    rule : str
        The documented rule that it is held to.
    by_design : mapping of str to str
        Names of known deviations that its documentation states, each with the address of the documentation.
    evidence : mapping of str to str
        The deviations that it is known for, each with its source.
    failures : tuple of KnownFailure
        The errors that it is known to raise.
    velocities : Velocities
        The form in which it keeps velocities.
    command : callable or None
        A function from the folder of the environment to the command of the program; by default the worker in
        Python, ``worker.py``, is run.
    hidden_wider_state : bool or None
        As in `Profile`.
    flush_to_zero : bool
        As in `Profile`.
    time_limit : float
        Seconds for the answer to one case.
    causes : mapping of str to str
        As in `Target`.
    """

    environment: Environment
    offers: tuple[str, ...]
    rule: str = "keras"
    by_design: Mapping[str, str] = field(default_factory=dict)
    evidence: Mapping[str, str] = field(default_factory=dict)
    failures: tuple[KnownFailure, ...] = ()
    velocities: Velocities = DOCUMENTED
    command: Callable[[Path], list[str]] | None = None
    hidden_wider_state: bool | None = None
    flush_to_zero: bool = False
    time_limit: float = TIME_LIMIT
    causes: Mapping[str, str] = field(default_factory=dict)

    @property
    def profile(self) -> Profile:
        """The declarations of the target."""
        return Profile(
            offers=self.offers,
            rule=self.rule,
            by_design=frozenset(self.by_design),
            velocities=self.velocities,
            hidden_wider_state=self.hidden_wider_state,
            flush_to_zero=self.flush_to_zero,
        )

    def start(self) -> AbstractContextManager[Implementation]:
        """Return the process of the target, which starts when it is first called.

        Raises
        ------
        CannotRun
            If the environment is not installed.
        """
        missing = self.environment.obstacle()
        if missing is not None:
            raise CannotRun(f"{self.environment.name}: {missing}")
        return Isolated(self._command(), self.profile, self.environment.settings, self.time_limit)

    def _command(self) -> list[str]:
        if self.command is not None:
            return self.command(self.environment.folder)
        # The options keep out the environment variables and the site-packages of the user.
        python = [str(self.environment.interpreter), "-E", "-s"]
        return [*python, str(SERVING), str(self.environment.definition / "worker.py")]

    def explain(self, verdict: Verdict) -> tuple[str, ...]:
        """Return the known deviations or the known failure of the target that explain one mismatch."""
        if verdict.trajectory is None:
            failure = known_failure(verdict.case, verdict.message, self.failures)
            return () if failure is None else (failure,)
        basis = basis_of(verdict)
        known = [name for name in self.evidence if name in DEVIATIONS]
        names = tuple(suiting(verdict.case, known, basis))
        explanation = explain(verdict.case, verdict.trajectory, names, basis)
        if explanation.complete:
            return explanation.names
        return explain_within_bounds(verdict.case, verdict.trajectory, names, basis)


def isolated_family(isolation: Isolation, releases: Callable[[], Releases] | None = None) -> Family:
    """Return a target with an environment of its own, for the registry.

    Parameters
    ----------
    isolation : Isolation
        How it runs.
    releases : callable, optional
        As in `Family`.
    """
    name = isolation.environment.name
    failures = {failure.name: failure.evidence for failure in isolation.failures}
    contradictions = {name for name in isolation.evidence if is_contradiction(name)} | failures.keys()

    def member() -> Target:
        return Target(
            name,
            isolation.start,
            isolation.explain,
            frozenset(contradictions),
            {**isolation.evidence, **failures},
            rule=isolation.rule,
            by_design=isolation.profile.dialect.by_design,
            offers=isolation.offers,
            named_together=True,
            causes=isolation.causes,
        )

    def how_to_run(case: Case) -> str:
        del case
        return CODE.format(name=name)

    return Family({}, member, how_to_run, environment=isolation.environment, releases=releases)
