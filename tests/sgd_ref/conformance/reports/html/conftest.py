"""A real browser, and the rules of axe for accessibility, where they are."""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture
def browser() -> Iterator[Any]:
    """Chromium, driven by Playwright; without it the test is skipped, and fails where it is required."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None or find_spec("playwright") is None:
        reason = f"NOT RUN: needs the package playwright, and one of {', '.join(NAMES)}"
        pytest.fail(reason) if os.environ.get("SGD_REF_REQUIRE_BROWSER") == "1" else pytest.skip(reason)
    with importlib.import_module("playwright.sync_api").sync_playwright() as started:
        opened = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def check_accessibility() -> Callable[[Any], None]:
    """Check an open page by axe-core, whose script the environment names; without it the test is skipped."""
    script = os.environ.get("SGD_REF_AXE")
    if script is None:
        pytest.skip("NOT RUN: SGD_REF_AXE must name axe.min.js of axe-core")

    def check(shown: Any) -> None:
        shown.add_script_tag(path=script)
        found = shown.evaluate("axe.run()")
        assert len(found["passes"]) > 10
        serious = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
        assert [(one["id"], [node["target"] for node in one["nodes"][:3]]) for one in serious] == []

    return check
