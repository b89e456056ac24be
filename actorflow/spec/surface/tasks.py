"""Keys of tasks of every type, and of what stands in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, TypeAlias

from actorflow.spec.model import ChildStrategy, CollectionMode, TaskType
from actorflow.spec.surface.agents import Http, Script
from actorflow.spec.surface.forms import (
    Command,
    Condition,
    Count,
    Data,
    Duration,
    Form,
    Id,
    ImportPath,
    Name,
    Parallel,
    Retries,
    ScriptText,
    SignalName,
    Text,
    Variable,
    VariableName,
    VariableOfItem,
    key,
    mapping,
)
from actorflow.spec.surface.hooks import Notice, TaskHooks
from actorflow.spec.surface.recovery import OnError, Retry, Transition


@mapping
class Edge:
    """A task that comes before, and how it must have ended."""

    task: Id = key("The task that comes before.", must=True)
    on: Literal["success", "failure", "always"] = key("success if not given.")


@mapping
class Loop:
    """Repeats a task: a number of times, or while or until an expression holds."""

    ONE_OF: ClassVar = ("repeat", "while", "until")
    BRINGS: ClassVar = {"while": ("max_iterations",), "until": ("max_iterations",)}
    APART: ClassVar = (("repeat", "max_iterations"),)

    repeat: Count = key("How many times.")
    while_: Condition = key("Before each iteration: whether there is another.")
    until: Condition = key("After each iteration: whether it was the last.")
    max_iterations: Count = key("Must be given with while and until.")
    delay: Duration = key("Between iterations.")
    collect: bool = key("Whether the output is the list of all iterations' outputs.")


@mapping
class FileItems:
    """The items of a collection, in a file."""

    file: Name = key("Relative to the workflow file.", must=True)
    format: Literal["json", "jsonl", "csv", "lines"] = key("By the file's ending if not given.")


@mapping
class OnComplete:
    """What follows a task's success."""

    notify: Text | Notice = key("Says so.")


@mapping
class Task:
    """A node of the workflow: one agent with one result, or by its type a container, a wait, a signal, a choice."""

    USUAL_TYPE: ClassVar = "basic"
    AT_MOST_ONE: ClassVar = ("agent", "action", "python", "command", "script", "http")
    NEEDS: ClassVar[Mapping[TaskType, tuple[tuple[str, ...], ...]]] = {
        "basic": (AT_MOST_ONE,),
        "parallel": (("tasks",),),
        "collection": (("items",), (*AT_MOST_ONE, "tasks")),
        "router": (("condition",), ("routes",)),
        "wait": (("signal", "until", "for"),),
        "signal": (("signal",),),
        "aggregate": (("outputs",),),
        "composite": (("tasks", "uses"),),
    }
    """By type of task, the keys of which at least one must be given."""

    APART: ClassVar = (("tasks", "uses"), *(("tasks", way) for way in AT_MOST_ONE))

    type: TaskType = key("What the task does; basic if not given.")
    agent: Name = key("Who performs it: one of agents, or bound by the caller.", of="basic collection")
    action: Name = key("The same as agent.", of="basic collection")
    python: ImportPath = key("A Python callable performs it.", of="basic collection")
    command: Command = key("A command performs it, in the workflow file's folder.", of="basic collection")
    script: ScriptText | Script = key("A script performs it.", of="basic collection")
    http: Http = key("An HTTP request performs it.", of="basic collection")
    cwd: Name = key("Where the command runs, relative to the workflow file.", of="basic collection")
    raw: bool = key(
        "Whether what looks like a template of ours in a shell's text is meant as it stands.",
        of="basic collection",
    )
    description: Text = key("What an agent that reads prompts is asked to do.")
    with_: dict[str, Data] = key("What the agent gets; the run's inputs if not given. May hold templates.")
    env: dict[VariableName, Variable] = key("Variables for its attempts; may hold templates and ${NAME}.")
    depends_on: Edges = key("The tasks that come before it.")
    when: Condition = key("Whether it runs at all.")
    sleep: Duration = key("Between its being ready and its first attempt.")
    timeout: Duration = key("Of each attempt; of a container, its deadline.")
    deadline: Duration = key("For all attempts of all agents together.")
    retry: Retries | Retry = key("How many times it is tried again, or how.", of="basic collection")
    on_error: OnError = key("What happens when it fails.")
    on_success: Id | Transition = key("The task that its success leads to.")
    on_complete: OnComplete = key("What follows its success.")
    hooks: TaskHooks = key("Hooks on its events.")
    outputs: dict[str, Data] = key("Its output, as templates over `output`.")
    loop: Loop = key("Repeats it.")
    priority: int = key("Of tasks that are ready together the lower start first; 0 if not given.")
    metadata: dict[str, Data] = key("Facts for people and agents.")
    options: dict[str, Data] = key(
        "What only the agent understands; laid over the agent's own.", of="basic collection"
    )
    idempotent: bool = key("Whether an attempt that a crash cut off may run again; true if not given.")
    sensitive: bool = key("Whether its output is shown as ***.")
    soft_errors: bool = key(
        "Whether an output with an `error`, or `success: false`, is a failure.", of="basic collection"
    )
    allow_transform: bool = key("Whether a transform hook may replace its output.")

    tasks: InnerTasks = key("The tasks inside it.", of="parallel collection composite")
    strategy: ChildStrategy = key("When it ends; wait_all if not given.", of="parallel collection")
    max_parallel: Parallel = key("How many of its children run side by side.", of="parallel collection")
    min_success: Count = key("Of best_effort: how many must succeed.", of="parallel collection")
    items: Text | list[Data] | FileItems = key("One child for each of these.", of="collection")
    item_var: VariableOfItem = key("What an item is called in templates; item if not given.", of="collection")
    index_var: VariableOfItem = key("What its number is called; index if not given.", of="collection")
    filter: Condition = key("Which items get a child.", of="collection")
    mode: CollectionMode = key("parallel if not given.", of="collection")
    batch: Count = key("How many items each child gets.", of="collection")
    condition: Condition = key(
        "Of a router, the key of a route; of a wait, whether a signal counts.", of="router wait"
    )
    routes: Annotated[dict[str, Id], Form({"minProperties": 1})] = key(
        "The task for each value of the condition.", of="router"
    )
    default: Id = key("The task for any other value.", of="router")
    signal: SignalName = key("The name of the signal that it waits for, or sends.", of="wait signal")
    until: Name = key("The time that it waits for.", of="wait")
    for_: Duration = key("How long it waits.", of="wait")
    on_timeout: Id | Transition = key("The task that its timeout leads to.", of="wait")
    run: Name = key("The run that gets the signal; this one if not given.", of="signal")
    to_all: bool = key("Whether all runs that wait for the signal get it.", of="signal")
    payload: Data = key("What the signal carries.", of="signal")
    uses: Name = key("Another workflow file, relative to this one, that is run.", of="composite")


@mapping
class ListedTask(Task):
    """A task in a list of tasks."""

    id: Id = key("Its name.", must=True)


Edges: TypeAlias = Id | Edge | Annotated[list[Id | Edge], Form({"uniqueItems": True})]
Tasks: TypeAlias = dict[Id, Task] | list[ListedTask]
InnerTasks: TypeAlias = (
    Annotated[dict[Id, Task], Form({"minProperties": 1})] | Annotated[list[ListedTask], Form({"minItems": 1})]
)
