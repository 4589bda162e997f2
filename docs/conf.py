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
exclude_patterns = ["_generated"]
nitpicky = True
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"resilience {__version__}"
html_static_path = ["_static"]
html_css_files = ["diagrams.css", "korean.css"]
html_copy_source = False
html_show_sphinx = False


def _stay_within(app, page, source):
    """Files beside docs/ are no pages: in HTML the English README is the index, and links to others are mere text."""
    source[0] = source[0].replace("](../../README.md)", "](../index.md)")
    source[0] = re.sub(r"\[([^\]]+)\]\(\.\./\.\./[\w.]+\)", r"\1", source[0])


def _name_the_language(app, page, template, context, tree):
    """Pages in Korean say so, for browsers that choose a font and for programs that read aloud."""
    context["language"] = "ko" if page.startswith("ko/") else "en"


def setup(app):
    """What Sphinx asks of an extension."""
    app.connect("source-read", _stay_within)
    app.connect("html-page-context", _name_the_language)
