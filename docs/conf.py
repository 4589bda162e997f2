"""Sphinx's settings. Nothing is fetched from another host; diagrams are drawn anew at each build."""

from __future__ import annotations

import re
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
html_css_files = ["diagrams.css", "korean.css"]
html_copy_source = False
html_show_sphinx = False


def stay_within_the_pages(app, page, source):
    """Files beside docs/ are no pages: links to the English README lead to the index, and others are mere text."""
    source[0] = source[0].replace("](../../README.md)", "](../index.md)")
    source[0] = re.sub(r"\[([^\]]+)\]\(\.\./\.\./(tests/[\w/]+\.py)#(\w+)\)", r"{abbr}`\1 (\2, \3)`", source[0])
    source[0] = re.sub(r"\[([^\]]+)\]\(\.\./\.\./[\w.]+\)", r"\1", source[0])


def leave_decisions_out_of_the_search(app, env):
    """Keep the decision records' text out of the search index, where it hid the pages that say how things are now."""
    for name in env.found_docs:
        if name.startswith("decisions/"):
            env.metadata[name]["nosearch"] = "true"


def name_the_language(app, page, template, context, tree):
    """State the language of the Korean pages, for browsers that choose a font and for screen readers."""
    context["language"] = "ko" if page.startswith("ko/") else "en"


def setup(app):
    """Register the hooks of this file."""
    app.connect("source-read", stay_within_the_pages)
    app.connect("env-updated", leave_decisions_out_of_the_search)
    app.connect("html-page-context", name_the_language)
