"""`python -m docs.generate`."""

from docs.generate import write_pages

for name in write_pages():
    print(f"wrote docs/{name}")  # noqa: T201 - what a person at a terminal waits for
