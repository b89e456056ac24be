"""Expressions and templates: parsed once, compiled to closures, pure, and bounded in every direction.

An expression reads plain data by name (`input.region == "eu"`) and can neither reach a Python object's attributes, nor
loop, nor build anything large. A template is a JSON value whose strings may hold `{{ expression }}`. Both say what they
read before they run. Whatever the text and the context are, `ExpressionError` is all that they raise.
"""

from actorflow.expression.compiled import Expression, compile_expression
from actorflow.expression.names import Path
from actorflow.expression.strings import our_template_roots
from actorflow.expression.template import Template, compile_template, condition

__all__ = [
    "Expression",
    "Path",
    "Template",
    "compile_expression",
    "compile_template",
    "condition",
    "our_template_roots",
]
