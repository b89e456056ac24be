"""From the root mapping of a definition to a draft: every part read and checked by itself."""

from __future__ import annotations

import re
from typing import Final

from actorflow.spec.model import HookLists, InputSpec, InputType, Limits, SecretSpec, WorkflowSpec
from actorflow.spec.readers.agents import read_agents
from actorflow.spec.readers.block import Block
from actorflow.spec.readers.containers import MOST_PARALLEL
from actorflow.spec.readers.draft import Draft, Scope, as_data, read_data, read_id
from actorflow.spec.readers.hooks import read_hook_lists, read_hook_sets
from actorflow.spec.readers.paths import read_path, refuse_unlisted, refuse_untrusted
from actorflow.spec.readers.recovery import read_defaults
from actorflow.spec.readers.tasks import read_tasks
from actorflow.spec.readers.words import DURABILITIES, INPUT, INPUT_TYPES, LIMITS, SECRET, WORKFLOW
from actorflow.spec.text.nodes import BROKEN, kind_of

__all__ = ["build", "read_inputs", "read_outputs"]

_MOST_RETRIES: Final = 1_000_000_000
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:-+[A-Za-z0-9_]+)*")
_DEFAULT_LIMITS: Final = Limits()


def build(draft: Draft, root: Block, name: str) -> WorkflowSpec:
    """Read all but `workflows:` into the draft, and give the part of it that is not tasks, agents or stages."""
    root.allow(WORKFLOW)
    draft.inputs = read_inputs(draft, root)
    _read_env(draft, root)
    _read_secrets(draft, root)
    read_hook_sets(draft, root)
    read_defaults(draft, root)
    read_agents(draft, root)
    read_tasks(draft, root)
    return WorkflowSpec(
        name=root.name("name") or name,
        version=root.text("version") or "",
        description=root.text("description") or "",
        inputs=draft.inputs,
        env=draft.env,
        secrets=draft.secrets,
        limits=_read_limits(root),
        agents=draft.agents,
        hooks=read_hook_lists(draft, root, draft.top, ""),
        default_hooks=_read_default_hooks(draft, root),
        trust=draft.trust,
    )


def read_inputs(draft: Draft, holder: Block) -> dict[str, InputSpec] | None:
    """`inputs:` of the root or an entry; None where it has none, and so any input is accepted."""
    inputs = holder.block("inputs")
    if inputs is None:
        return None
    for name in inputs.node:
        read_id(inputs, name, name, "an input")
    unread = {name: InputSpec() for name in inputs.node}
    return unread | {name: _read_input(draft, block) for name, block in inputs.children()}


def _read_input(draft: Draft, block: Block) -> InputSpec:
    block.allow(INPUT)
    kind = block.choice("type", INPUT_TYPES) if block.has("type") else "string"
    choices = [
        (index, as_data(draft, item, block.mark("enum", index), block.path_of("enum", index), None))
        for index, item in block.items("enum")
    ]
    default = read_data(draft, block, "default", None) if block.has("default") else None
    if block.has("enum") and block.node["enum"] == []:
        block.fault("E123", "enum", "must not be empty")
    for index, choice in choices:
        if kind and not _fits(choice, kind):
            block.fault("E121", "enum", f"must be of type {kind}, like the input", index=index)
    if block.has("default") and block.node["default"] is not BROKEN:
        if kind and not _fits(default, kind):
            block.fault("E121", "default", f"must be of type {kind}, not {kind_of(block.node['default'])}")
        elif choices and not any(_same(default, choice) for _, choice in choices):
            block.fault("E123", "default", "is none of the values in enum")
    return InputSpec(
        type=kind or "string",
        required=block.boolean("required") or False,
        default=default,
        has_default=block.has("default"),
        description=block.text("description") or "",
        enum=tuple(choice for _, choice in choices),
        sensitive=block.boolean("sensitive") or False,
    )


_PYTHON_TYPES: Final[dict[InputType, tuple[type, ...]]] = {
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
}


def _fits(value: object, kind: InputType) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _PYTHON_TYPES[kind])


def _same(one: object, other: object) -> bool:
    """Equal as JSON, where true is not 1."""
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def read_outputs(draft: Draft, holder: Block) -> dict[str, object] | None:
    """`outputs:` of the root or an entry; None where it has none."""
    outputs = holder.block("outputs")
    if outputs is None:
        return None
    scope = Scope("outputs", draft.top)
    return {key: read_data(draft, outputs, key, scope) for key in outputs.node}


def _read_env(draft: Draft, root: Block) -> None:
    """The variables that a run may read, by name; those that are refused are known too, and so told of once."""
    if root.has("env"):
        refuse_untrusted(draft, root, "env", "E204", "variables of the environment")
    names: dict[str, None] = {}
    for item in root.names("env"):
        if _VARIABLE.fullmatch(item.text) is None:
            hint = "letters, digits and _, the first no digit"
            root.fault(
                "E127", "env", f"{item.text!r} cannot be the name of a variable", hint, index=item.index
            )
        elif item.text in names:
            root.fault("E133", "env", f"{item.text!r} is there twice", index=item.index)
        else:
            refuse_unlisted(draft, root, "env", item.text, index=item.index)
            names[item.text] = None
    draft.env = tuple(names)


def _read_secrets(draft: Draft, root: Block) -> None:
    """Where each secret is found: never the secret itself."""
    if root.has("secrets") and refuse_untrusted(draft, root, "secrets", "E205", "secrets"):
        return
    secrets = root.block("secrets")
    if secrets is None:
        return
    for name in secrets.node:
        draft.secrets[name] = _read_secret(draft, secrets, name) or SecretSpec()


def _read_secret(draft: Draft, secrets: Block, name: str) -> SecretSpec | None:
    if isinstance(secrets.node[name], str):
        hint = f"write {name}: {{env: NAME}}, a variable of the environment, or {name}: {{file: PATH}}"
        secrets.fault("E140", name, "a secret must not be written into the file", hint)
        return None
    if _SECRET_NAME.fullmatch(name) is None:
        hint = "letters, digits, _ and -"
        secrets.key_fault("E124", name, f"{name!r} cannot be the name of a secret", hint)
        return None
    fields = secrets.block(name)
    return None if fields is None else _read_place(draft, fields)


def _read_place(draft: Draft, fields: Block) -> SecretSpec | None:
    """Where one secret is found."""
    fields.allow(SECRET)
    given = [key for key in ("env", "file") if fields.has(key)]
    if len(given) != 1:
        code, what = ("E125", "both 'env' and 'file' say") if given else ("E122", "nothing says")
        fields.own_fault(code, f"{what} where the secret is", "give one of env: NAME and file: PATH")
        return None
    variable = fields.name("env") if fields.has("env") else None
    if variable is not None:
        if _VARIABLE.fullmatch(variable) is None:
            hint = "letters, digits and _"
            fields.fault("E127", "env", f"{variable!r} cannot be the name of a variable", hint)
        else:
            refuse_unlisted(draft, fields, "env", variable)
    return SecretSpec(env=variable, file=read_path(fields, "file", may_be_absolute=True))


def _read_default_hooks(draft: Draft, root: Block) -> HookLists:
    defaults = root.block("defaults")
    return HookLists() if defaults is None else read_hook_lists(draft, defaults, draft.top, "")


def _read_limits(root: Block) -> Limits:
    fields = root.block("limits")
    if fields is None:
        return _DEFAULT_LIMITS
    fields.allow(LIMITS)
    durability = fields.choice("durability", DURABILITIES) or _DEFAULT_LIMITS.durability
    if durability == "lazy":
        message = (
            f"{fields.path}: 'lazy' is kept as normal in this version: what depends on a step waits for it"
        )
        root.report.warn("W104", fields.mark("durability"), message)
    return Limits(
        max_parallel=fields.integer("max_parallel", 1, MOST_PARALLEL) or _DEFAULT_LIMITS.max_parallel,
        retry_budget=fields.integer("retry_budget", 0, _MOST_RETRIES),
        deadline=fields.duration("deadline"),
        durability=durability,
        keep=fields.duration("keep"),
    )
