"""What is installed for a release, and what is no release."""

from __future__ import annotations

import pytest

from sgd_ref.conformance.targets import registry
from sgd_ref.conformance.targets.history.releases import Releases, check_release, parts


@pytest.mark.parametrize("release", ["3.4", "3.15.1", "2.13.0+cpu", "2.15.0.post1", "1.0rc1"])
def test_versions_are_releases(release: str) -> None:
    assert check_release(release) == release


@pytest.mark.parametrize("release", ["", "latest", "--pre", "3.4; rm", "3.", "3.*", "3.4 --index-url x"])
def test_anything_else_is_refused(release: str) -> None:
    with pytest.raises(ValueError, match=r"the release must be a version such as 3.4 or 2.13.0"):
        check_release(release)
    with pytest.raises(ValueError, match="the release must be"):
        Releases("optax").requirements(release)


def test_what_stands_behind_a_plus_does_not_count() -> None:
    assert parts("2.13.0+cpu") == parts("2.13.0")
    assert parts("3.9.2") < parts("3.10.0")


def test_every_family_with_releases_installs_its_package_first() -> None:
    for name in registry.names():
        values = registry.options_of(name)
        of = registry.FAMILIES[values.pop("target")].releases
        if of is not None:
            releases = of(**values)
            assert releases.requirements("1.2.3").splitlines()[0] == f"{releases.package}==1.2.3"
            assert releases.requirements("1.2").splitlines()[0] == f"{releases.package}==1.2.*"
