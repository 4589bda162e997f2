"""Sphinx's settings. Nothing is fetched from another host; diagrams are drawn anew at each build."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import diagrams  # noqa: E402

from resilience._version import __version__  # noqa: E402

diagrams.draw_all(HERE / "_generated")

project = "resilience"
author = "the resilience authors"
copyright = author
release = version = __version__

extensions = ["myst_parser"]
exclude_patterns = ["_generated", "pypi.md"]
nitpicky = True
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"resilience {__version__}"
html_static_path = ["_static"]
html_css_files = ["diagrams.css"]
html_copy_source = False
html_show_sphinx = False


def leave_decisions_out_of_the_search(app, env):
    """Keep the decision records' text out of the search index, where it hid the pages that say how things are now."""
    for name in env.found_docs:
        if name.startswith("decisions/"):
            env.metadata[name]["nosearch"] = "true"


def setup(app):
    """Register the hook of this file."""
    app.connect("env-updated", leave_decisions_out_of_the_search)
