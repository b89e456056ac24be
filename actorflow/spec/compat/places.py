"""What the rewriting of a task must know: the file around it, and the names that its texts may use."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import Factory, evolve, field, frozen

from actorflow.spec.compat.aside import SetAside
from actorflow.spec.compat.edges import Wish
from actorflow.spec.compat.growth import Growth
from actorflow.spec.compat.names import AgentNames
from actorflow.spec.text.nodes import MapNode, Mark, Node
from actorflow.spec.text.report import Report

__all__ = ["File", "Place"]

_NO_NAMES: Mapping[str, str] = {}
_NO_VALUES: Mapping[str, Node] = {}


@frozen(eq=False)
class File:
    """What one file says that holds for all of its tasks."""

    report: Report
    aside: SetAside
    inputs: Mapping[str, Node] | None  #: as declared; None: the file declares none, and any is accepted
    states: Mapping[str, str]  #: the state's key: the task whose result it holds
    results: Mapping[str, str]  #: the name of a declared output: the one task that declares it
    agents: Mapping[str, Mapping[str, Node]]  #: an agent's name: the defaults of its inputs
    subflows: Mapping[str, MapNode]
    library: AgentNames = field(factory=lambda: AgentNames(MapNode()))
    growth: Growth = Factory(lambda self: Growth(self.report), takes_self=True)


@frozen(eq=False)
class Place:
    """Where a task stands."""

    file: File
    task: str
    siblings: frozenset[str]  #: the tasks of its level
    around: frozenset[str] = frozenset()  #: the tasks of the levels around that
    wishes: list[Wish] = field(factory=list[Wish])  #: grows: the edges that its texts and conditions ask for
    names: Mapping[str, str] = _NO_NAMES  #: variables of the loops around it: the expression that each is
    values: Mapping[str, Node] = _NO_VALUES  #: inputs of the subflow that it is part of: what each is
    agent: str | None = None  #: whose inputs `${agent.x}` reads
    running: tuple[str, ...] = ()  #: the subflows that it is part of, the outermost first
    levels: int = 0  #: of tasks around it
    fetches: Mapping[str, str] = _NO_NAMES  #: by task of its level: the one that fetches its items
    last: str = ""  #: of a task that is repeated: the expression for what its last iteration gave

    def level(self, tasks: frozenset[str], fetches: Mapping[str, str]) -> Place:
        """The place of the tasks inside this one, or of the file's own: they wish among themselves."""
        around = self.around | self.siblings
        return evolve(
            self,
            siblings=tasks,
            around=around,
            wishes=[],
            levels=self.levels + 1,
            fetches=fetches,
            last="",
        )

    def of(self, task: str, agent: Node) -> Place:
        """The place of one task of the level, and who performs it; its wishes join those of the others."""
        return evolve(self, task=task, agent=agent if isinstance(agent, str) else None)

    def knows(self, task: str) -> bool:
        """Whether there is such a task here or around."""
        return task in self.siblings or task in self.around

    def wish(self, target: str, mark: Mark, *, whatever: bool = False) -> None:
        """Ask for an edge from a task to this one."""
        self.wishes.append(Wish(self.task, target, mark, whatever))

    def pass_on(self, wishes: list[Wish], level: frozenset[str]) -> None:
        """Take over what the tasks inside ask for and their own level cannot give."""
        self.wishes.extend(evolve(wish, reader=self.task) for wish in wishes if wish.target not in level)
