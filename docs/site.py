"""What the site has that Markdown has no words for: the order of pages, names of files, anchors of codes, drawings.

The pages stay plain Markdown, which shows as well where it is kept; a page need not know of any of this.
"""

from __future__ import annotations

import re
import shutil
from typing import Any, Final

from docutils import nodes
from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx
from sphinx.ext.graphviz import graphviz
from sphinx.ext.napoleon import Config
from sphinx.ext.napoleon.docstring import GoogleDocstring
from sphinx.transforms import SphinxTransform

TREES: Final = {
    "index": (
        (None, ("tutorial", "concepts", "how-to/index", "examples")),
        (
            "Guides",
            (
                "format",
                "cli",
                "hooks",
                "requests",
                "embedding",
                "testing",
                "guarantees",
                "state",
                "second-grammar",
            ),
        ),
        (
            "Reference",
            (
                "reference/cli",
                "reference/format",
                "reference/events",
                "reference/states",
                "reference/errors",
                "errors",
                "reference/api",
            ),
        ),
        ("Inside", ("design",)),
    ),
}
"""The pages below a page, in order: captions of the site's side bar, and what stands under each."""

LISTS: Final = ("how-to/index",)
"""Pages above those beside them, in the order of their links."""

_NEIGHBOUR: Final = re.compile(r"\]\(([\w-]+)\.md\)")
_FILE: Final = re.compile(r"^```(\w+) (?:.* )?file=(\S+).*$", re.MULTILINE)
_CODE: Final = re.compile(r"([EW]\d{3}): ")
_POINT: Final = "[*]"
_ARROW: Final = re.compile(r"(\[\*\]|\w+) --> (\[\*\]|\w+)(?: ?: ?(.*))?")
_WITHOUT_SECTIONS: Final = ("attribute", "data", "property")
_DOT_HEAD: Final = (
    'bgcolor="transparent"; rankdir=TB; nodesep=0.3; ranksep=0.4;',
    'node [shape=box, style="rounded,filled", fillcolor="#e8eef7", color="#4a6fa5", fontname="sans-serif", fontsize=14];',
    'edge [color="#7a8699", fontcolor="#7a8699", fontname="sans-serif", fontsize=12];',
)
_DOT_POINT: Final = '[shape=circle, label="", width=0.15, fillcolor="#4a6fa5"]'


def setup(app: Sphinx) -> dict[str, Any]:
    """Have Sphinx do it."""
    app.connect("source-read", add_tree)
    app.connect("source-read", name_files)
    app.connect("doctree-read", add_code_anchors)
    app.connect("doctree-read", lengthen_dashes)
    app.connect("autodoc-process-docstring", as_rst)
    app.add_transform(DrawMermaid)
    for language in ("trace", "mermaid"):
        app.add_lexer(language, TextLexer)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def add_tree(_: Sphinx, page: str, source: list[str]) -> None:
    """Put the pages that stand below a page at its end, for the side bar alone."""
    trees = [(None, _NEIGHBOUR.findall(source[0]))] if page in LISTS else TREES.get(page, ())
    for caption, entries in trees:
        options = [":hidden:", *([f":caption: {caption}"] if caption else [])]
        source[0] += "\n".join(["", "", "```{toctree}", *options, "", *entries, "```", ""])


def name_files(_: Sphinx, __: str, source: list[str]) -> None:
    """Show the name of a block that is a file above it: `yaml file=order.yaml`."""
    source[0] = _FILE.sub(r"```{code-block} \1\n:caption: \2\n", source[0])


def add_code_anchors(app: Sphinx, tree: nodes.document) -> None:
    """Let a section whose title begins with a code be linked to by the code alone: `errors.md#e110`."""
    slugs = app.env.metadata[app.env.docname].setdefault("myst_slugs", {})
    for section in tree.findall(nodes.section):
        title = section[0].astext()
        found = _CODE.match(title)
        if found is not None:
            anchor = found[1].lower()
            section["ids"].append(anchor)
            slugs[anchor] = (section.line or 0, anchor, title)


def lengthen_dashes(_: Sphinx, tree: nodes.document) -> None:
    """Write the dash between a parameter and what is said of it as one; other dashes may be those of options."""
    for text in list(tree.findall(nodes.Text)):
        if text == " -- ":
            text.parent.replace(text, nodes.Text(" – "))


def as_rst(app: Sphinx, what: str, *documented: Any) -> None:
    """Write a docstring as reStructuredText: blocks of Markdown, and then the sections of Google's style.

    What is said of a field or property has no sections: napoleon would take what stands before a colon for a type.
    """
    *about, lines = documented
    is_code = False
    for number, line in enumerate(lines):
        if line.strip().startswith("```"):
            is_code = not is_code
            lines[number] = f".. code-block:: {line.strip(' `') or 'text'}\n" if is_code else ""
        elif is_code:
            lines[number] = f"    {line}"
    lines[:] = "\n".join(lines).split("\n")
    if what not in _WITHOUT_SECTIONS:
        lines[:] = GoogleDocstring(lines, Config(), app, what, *about).lines()


class DrawMermaid(SphinxTransform):
    """Draw the state diagrams, where Graphviz is there to do it; other diagrams stay as they are written."""

    default_priority = 400

    def apply(self, **_: Any) -> None:
        """Put a drawing in the place of each diagram."""
        if shutil.which("dot") is None:
            return
        for block in list(self.document.findall(nodes.literal_block)):
            if block.get("language") == "mermaid" and block.astext().startswith("stateDiagram"):
                drawing = graphviz(code=dot_of(block.astext()), options={"docname": self.env.docname})
                drawing["align"] = "center"
                block.replace_self(drawing)


def dot_of(diagram: str) -> str:
    """The states and arrows of a Mermaid state diagram in Graphviz' words."""
    lines = [*_DOT_HEAD]
    for number, line in enumerate(diagram.splitlines()):
        found = _ARROW.fullmatch(line.strip())
        if found is not None:
            source, target = (f"{end}{number}" if end == _POINT else end for end in found.group(1, 2))
            lines += [f'"{end}" {_DOT_POINT};' for end in (source, target) if end.startswith(_POINT)]
            label = (found[3] or "").replace("<br/>", "\\n")
            lines.append(f'"{source}" -> "{target}" [label="{label}"];')
    return "\n".join(["digraph {", *lines, "}"])
