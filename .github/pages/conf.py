"""Settings of Sphinx, which makes the static pages; ``build`` beside this file runs it.

The sources are the Markdown pages where they stand in the repository, so that one text serves both.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REPOSITORY = PROJECT["urls"]["Repository"]

project = PROJECT["name"]
version = release = PROJECT["version"]
copyright = "the authors, Apache-2.0"
root_doc = "README"
source_suffix = {".md": "markdown"}
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = project
html_show_sphinx = False
html_copy_source = False
# What Furo leaves undone for the keyboard and for screen readers.
html_static_path = ["static"]
html_js_files = [("accessible.js", {"defer": "defer"})]

include_patterns = [
    "*.md",
    "golden/**.md",
    "numba_kernels/**.md",
    "sgd_ref/**.md",
    ".github/SECURITY.md",
    ".github/actions/**.md",
    ".github/pages/*.md",
]
exclude_patterns = ["build", ".venv*"]

# The anchors of headings are those of GitHub.
myst_heading_anchors = 4
# A type in a docstring becomes a link, and there are several classes of the name SGD. A page that is not in
# `CONTENTS` is reached by links.
suppress_warnings = ["toc.not_included", "myst.header", "ref.python"]

napoleon_google_docstring = False
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "imported-members": False}
add_module_names = False

CONTENTS = {
    "The definition": ("sgd_ref/README", "sgd_ref/DEFINITION", "sgd_ref/DIFFERENCES"),
    "The kernels": ("numba_kernels/README", "numba_kernels/benchmarks/results/benchmarks"),
    "The kit": (
        "sgd_ref/conformance/README",
        "sgd_ref/conformance/pytest_plugin/README",
        "sgd_ref/conformance/watching/README",
        ".github/actions/conform/README",
        "golden/targets/README",
        "golden/targets/reports/README",
        "golden/audit/kill_matrix",
        "golden/audit/bounds",
        "golden/audit/mutants",
    ),
    "Golden data": ("golden/README", "golden/starters/README", "golden/VERSIONS"),
    "Reference": (".github/pages/api", "CHANGELOG", "CONTRIBUTING", ".github/SECURITY"),
}
"""The pages, as they stand beside each page."""

TARGETS = "golden/targets/README"
TO_REPORT = (
    '<p>All of this with filters and plots: <a href="../../reports/targets.html">the report</a>.</p>\n'
)
"""The page of all targets, and what leads from it to the report, which `build` writes beside the pages."""

LINK = re.compile(r"(\]\()([^)\s#:]+)((?:#[^)\s]*)?\))")
FENCED = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)


def with_contents(app: Any, docname: str, source: list[str]) -> None:
    """Let links to sources lead to the repository, and some pages to what is not in the repository."""
    place = (ROOT / docname).parent
    parts = FENCED.split(source[0])
    source[0] = "".join(
        part if part.startswith("```") else LINK.sub(lambda found: _linked(app, place, found), part)
        for part in parts
    )
    if docname == TARGETS:
        heading, _, rest = source[0].partition("\n")
        source[0] = f"{heading}\n\n{TO_REPORT}\n{rest}"
    if docname == root_doc:
        for caption, pages in CONTENTS.items():
            lines = "\n".join(f"/{page}" for page in pages)
            source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{lines}\n```\n"


def with_levels(_app: Any, _page: str, _template: str, context: dict[str, Any], _doctree: Any) -> None:
    """Give the captions of the contents a level: they are headings, which must have one."""
    tree = context.get("furo_navigation_tree", "")
    context["furo_navigation_tree"] = tree.replace(' role="heading"', ' role="heading" aria-level="2"')


def _linked(app: Any, place: Path, found: re.Match[str]) -> str:
    """Return a link as it is, if it leads to a page or nowhere, or else as one to the repository."""
    before, path, after = found.groups()
    target = (place / path).resolve()
    if not target.is_relative_to(ROOT) or not target.exists():
        return found[0]
    if target.is_dir() and (target / "README.md").is_file():
        return f"{before}{path.rstrip('/')}/README.md{after}"
    name = target.relative_to(ROOT).as_posix()
    if name.removesuffix(".md") in app.env.found_docs:
        return found[0]
    return f"{before}{REPOSITORY}/{'tree' if target.is_dir() else 'blob'}/main/{name}{after}"


def setup(app: Any) -> None:
    """Register what is done to each page."""
    app.connect("source-read", with_contents)
    # After Furo, which makes the tree at the default priority.
    app.connect("html-page-context", with_levels, priority=900)
