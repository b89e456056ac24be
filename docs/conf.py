"""How the pages of this folder become a site: `python -m sphinx -W --keep-going -n docs OUT`.

The pages are Markdown that reads as well without the site; `site.py` adds what only the site needs.
"""

from __future__ import annotations

import sys
from pathlib import Path

import actorflow

sys.path.insert(0, str(Path(__file__).parent.parent))  # `docs.site` is not installed

project = "actorflow"
author = "the authors of actorflow"
version = release = actorflow.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.graphviz", "docs.site"]
root_doc = "index"
exclude_patterns: list[str] = []
html_theme = "furo"
html_title = f"actorflow {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False

myst_heading_anchors = 4
smartquotes = False
default_role = "code"
graphviz_output_format = "svg"

autodoc_default_options = {"members": True, "undoc-members": True}
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autoclass_content = "class"

nitpick_ignore_regex = [
    ("py:.*", r"(collections\.abc|os|types|contextlib|anyio|hypothesis|logging|pathlib)\..*"),
    ("py:.*", r"actorflow\.\w+\..*"),  # the inside: it is named in signatures, and no promise
    (
        "py:.*",
        r"_Args|HookEvent|EgressRefused",
    ),  # the same, where a docstring or a signature has the bare name
]
