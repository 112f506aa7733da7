"""What the pages for people say is so: their examples run, their links lead somewhere, their claims hold."""

from __future__ import annotations

import doctest
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

import numba_kernels
import sgd_ref
from numba_kernels.selfcheck.page import verdict
from numba_kernels.selfcheck.result import Result
from numba_kernels.selfcheck.runner import Outcome
from sgd_ref.conformance import data_folder

ROOT = Path(__file__).parent.parent
REFERENCE, KERNELS = (Path(str(package.__file__)).parent for package in (sgd_ref, numba_kernels))
KIT_PAGE = REFERENCE / "conformance/README.md"
PAGES = (ROOT / "README.md", REFERENCE / "README.md", KERNELS / "README.md", KIT_PAGE)

EXAMPLE = re.compile(r"```python\n(.*?)```\n+(?:```text\n(.*?)```)?", re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)

CODE = re.compile(r"`([^`\s]+(?:/|\.py|\.json|\.md|\.toml))`")
PLACEHOLDER = re.compile("NAME|STAGE")
BASES = ("", "sgd_ref", "sgd_ref/conformance", "numba_kernels", "numba_kernels/selfcheck/machine_code/cuda")

FEWEST_KILLS = 3
"""Cases that reject each mistake, as the page of the kit says."""

needs_sources = pytest.mark.skipif(
    not (ROOT / "sgd_ref").is_dir(), reason="links lead to sources, of which a wheel has no checkout"
)


def examples() -> Iterator[Any]:
    for page in PAGES:
        for position, (code, printed) in enumerate(EXAMPLE.findall(page.read_text(encoding="utf-8"))):
            yield pytest.param(code, printed, id=f"{page.parent.name}-{position}")


@cache
def executed(code: str) -> tuple[dict[str, Any], str]:
    """Return the names that an example leaves, and what it prints."""
    namespace: dict[str, Any] = {}
    with redirect_stdout(StringIO()) as shown:
        exec(compile(code, "example", "exec"), namespace)
    return namespace, shown.getvalue()


def slug(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    return {slug(heading.replace("`", "")) for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}


def markdown() -> list[Path]:
    folders = ("sgd_ref", "numba_kernels", "golden", "tests", ".github")
    inside = (page for folder in folders for page in (ROOT / folder).rglob("*.md"))
    return sorted([*ROOT.glob("*.md"), *inside])


def broken_links(page: Path) -> list[str]:
    """Return the links of a page that lead to no file of the repository, or to no heading of a page."""
    broken = []
    for link in LINK.findall(FENCED.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    return broken


def test_each_product_has_an_example() -> None:
    assert len(list(examples())) == 3


@pytest.mark.parametrize(("code", "printed"), list(examples()))
def test_example_prints_what_the_page_says(code: str, printed: str) -> None:
    _, shown = executed(code)
    assert printed.strip(), "no output is shown below the example"
    assert doctest.OutputChecker().check_output(printed, shown, doctest.ELLIPSIS), shown


def test_the_last_line_of_the_first_command_is_the_one_shown() -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^    (PASSED: .*)$", page, re.MULTILINE)
    compared, cases, skipped = (
        int(number.replace(",", "")) for number in re.findall(r"([\d,]+) (?:values|cases)", shown)
    )
    result = Result("all", cases=cases, compared=compared, skipped=skipped)
    assert verdict(Outcome([result], [])) == shown


def test_adapter_shows_its_mistake() -> None:
    ((code, _),) = EXAMPLE.findall(KIT_PAGE.read_text(encoding="utf-8"))
    namespace, printed = executed(code)
    report = namespace["report"]
    diverging = {name for name, verdict in report.verdicts.items() if verdict.grade == "diverges"}
    # The cases with momentum and a rate that changes.
    assert diverging == {
        "axes/momentum/callable",
        "axes/momentum/piecewise",
        "exact/piecewise/float32",
        "exact/piecewise/float64",
        "exact/callable/float32",
        "exact/callable/float64",
        "structure/calls-14/callable/momentum/float32",
        "structure/equal-shapes/callable/momentum/float32",
        "structure/calls-66/callable/momentum/bfloat16",
        "structure/calls-66/callable/momentum/float32",
        "structure/calls-66/callable/momentum/float64",
        "structure/calls-66/callable/nesterov/float32",
        "structure/calls-260/callable/momentum/float32",
        "structure/calls-260/callable/momentum/float64",
    }
    assert report.count("error") == 0
    assert all(name in printed for name in diverging)
    assert printed.count("it equals rate-outside-velocity\n") == len(diverging)


@needs_sources
def test_everything_is_added_where_something_is() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    paths = [path for row in rows for path in CODE.findall(row) if not PLACEHOLDER.search(path)]
    assert len(paths) > 40
    assert [path for path in paths if not any((ROOT / base / path).exists() for base in BASES)] == []


@needs_sources
@pytest.mark.parametrize("page", markdown(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    assert broken_links(page) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A `b`: c\n[a](page.md#a-b-c) [b](#a-b-c) [c](https://example.org) [d](missing.md) [e](#d)\n"
        "```\n[f](in_code.md)\n```\n",
        encoding="utf-8",
    )
    assert broken_links(page) == ["missing.md", "#d"]


def test_the_kill_matrix_is_what_the_page_of_the_kit_says() -> None:
    page = (data_folder.folder() / "audit/kill_matrix.md").read_text(encoding="utf-8")
    rejected, of, fewest, others = re.findall(
        r"^- Rejected: (\d+) of (\d+) deviations, in at least (\d+) cases each\. "
        r"The others are answers to open questions: (.*)\.$",
        page,
        re.MULTILINE,
    )[0]
    assert int(fewest) >= FEWEST_KILLS
    assert int(rejected) + len(others.split(", ")) == int(of)
    assert re.search(r"^- Rejected: 0 of \d+ faithful variants\.$", page, re.MULTILINE)
    assert f"rejected by at least {FEWEST_KILLS} cases" in KIT_PAGE.read_text(encoding="utf-8")
