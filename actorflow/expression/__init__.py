"""Expressions and templates: parsed once, compiled to closures, pure, and bounded in every direction.

An expression reads plain data by name (`input.region == "eu"`) and can neither reach a Python object's attributes, nor
loop, nor build anything large. A template is a JSON value whose strings may hold `{{ expression }}`. Both say what they
read before they run. A secret's name becomes a sealed placeholder, which no expression can look into. Whatever the text
and the context are, `ExpressionError` is all that they raise.
"""

from actorflow.expression.compiled import Expression, compile_expression
from actorflow.expression.names import Path
from actorflow.expression.sealed import Sealed, SecretName
from actorflow.expression.strings import our_template_roots
from actorflow.expression.template import Template, compile_template, condition, unseal

__all__ = [
    "Expression",
    "Path",
    "Sealed",
    "SecretName",
    "Template",
    "compile_expression",
    "compile_template",
    "condition",
    "our_template_roots",
    "unseal",
]
