"""Deliberate bugs, each a switch on the code as it is: tests that can't tell are not to be trusted.

`python -m tests.mutants` lets each loose and names the promise that gives it away; see `catalogue`.
"""
