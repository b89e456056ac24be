"""Python callables as agents: how they are called, found, and ended."""

from __future__ import annotations

import contextvars
import functools
import gc
import sys
import textwrap
import threading
from pathlib import Path

import anyio
import pytest
import sniffio

from actorflow.agents.call import AgentCall
from actorflow.agents.failure import failure_of
from actorflow.agents.loading import load_function
from actorflow.agents.python import AgentThreads, python_performer
from actorflow.errors import BindError

pytestmark = pytest.mark.anyio

CALL = AgentCall(input={"n": 2}, task="t", run_id="r")
variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


@pytest.fixture
def threads() -> AgentThreads:
    return AgentThreads(4)


async def double(call: AgentCall) -> int:
    return call.input["n"] * 2


def double_in_thread(call: AgentCall) -> tuple[int, bool]:
    return call.input["n"] * 2, threading.current_thread() is threading.main_thread()


class Doubler:
    async def __call__(self, call: AgentCall) -> int:
        return call.input["n"] * 2

    async def method(self, call: AgentCall) -> int:
        return call.input["n"] * 2


def times(factor: int, call: AgentCall) -> int:
    return call.input["n"] * factor


async def times_async(factor: int, call: AgentCall) -> int:
    return call.input["n"] * factor


def test_a_call_may_be_asked_for_all_that_it_has():
    CALL.heartbeat()

    assert (CALL.attempt, CALL.loss, CALL.argv, CALL.description) == (1, 0, None, "")
    assert dict(CALL.env) == dict(CALL.options) == {}


@pytest.mark.parametrize(
    "fn",
    [
        double,
        Doubler(),
        Doubler().method,
        functools.partial(times_async, 2),
        functools.partial(times, 2),
        lambda call: double(call),  # noqa: PLW0108 - not a coroutine function itself
        lambda call: call.input["n"] * 2,
    ],
)
async def test_every_kind_of_callable_gives_its_result(threads, fn):
    assert await python_performer(fn, threads=threads)(CALL) == 4


async def test_a_coroutine_function_is_its_own_performer(threads):
    assert python_performer(double, threads=threads) is double


async def test_a_synchronous_function_runs_beside_the_loop(threads):
    assert await python_performer(double_in_thread, threads=threads)(CALL) == (4, False)


async def test_the_library_is_known_inside_an_agent(threads, anyio_backend):
    async def agent(call):
        return sniffio.current_async_library()

    def sync_agent(call):
        with pytest.raises(sniffio.AsyncLibraryNotFoundError):
            sniffio.current_async_library()
        return anyio.from_thread.run_sync(sniffio.current_async_library)

    assert await python_performer(agent, threads=threads)(CALL) == anyio_backend
    assert await python_performer(sync_agent, threads=threads)(CALL) == anyio_backend


async def test_context_variables_are_seen_and_not_changed(threads):
    def agent(call):
        seen = variable.get()
        variable.set("changed")
        return seen

    token = variable.set("ours")
    try:
        assert await python_performer(agent, threads=threads)(CALL) == "ours"
        assert variable.get() == "ours"
    finally:
        variable.reset(token)


@pytest.mark.parametrize(
    "error", [ValueError("no"), StopIteration("early"), SystemExit(3), KeyboardInterrupt()]
)
@pytest.mark.parametrize("is_async", [True, False])
async def test_what_an_agent_raises_is_named_by_its_class(threads, error, is_async):
    def agent(call):
        raise error

    async def async_agent(call):
        raise error

    performer = python_performer(async_agent if is_async else agent, threads=threads)
    with pytest.raises(BaseException) as caught:
        await performer(CALL)

    assert failure_of(caught.value).type == type(error).__name__


async def test_as_many_threads_run_as_the_limit_says():
    threads = AgentThreads(60)
    barrier = threading.Barrier(60, timeout=20)
    perform = python_performer(lambda call: barrier.wait() >= 0, threads=threads)

    async with anyio.create_task_group() as group:
        for _ in range(60):
            group.start_soon(perform, CALL)


@pytest.mark.parametrize(
    ("fn", "sentence"),
    [
        (3, "a int is not callable"),
        (lambda: None, "cannot be called with one argument, the AgentCall: too many positional arguments"),
        (lambda call, x: None, "missing a required .*argument: 'x'"),
        (lambda call, *, x: None, "missing a required .*argument: 'x'"),
        (functools.partial(times, 1, 2), "too many positional arguments"),
    ],
)
def test_what_cannot_take_a_call_is_refused(threads, fn, sentence):
    with pytest.raises(BindError, match=sentence):
        python_performer(fn, threads=threads)


def test_generators_are_refused(threads):
    def generator(call):
        yield 1

    async def async_generator(call):
        yield 1

    for fn in (generator, async_generator, functools.partial(generator)):
        with pytest.raises(BindError, match="is a generator"):
            python_performer(fn, threads=threads)


class Stubborn:
    """A synchronous agent that runs until it is told to end."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.may_end = threading.Event()
        self.ended = threading.Event()

    def __call__(self, call: AgentCall) -> str:
        self.began.set()
        assert self.may_end.wait(20)
        self.ended.set()
        return "late"


async def wait_until(is_so) -> None:
    with anyio.fail_after(10):
        while not is_so():  # noqa: ASYNC110 - what is waited for happens in a thread
            await anyio.sleep(0.001)


async def test_a_cancelled_call_waits_for_its_thread(threads):
    agent = Stubborn()
    results = []

    async def body():
        try:
            results.append(await python_performer(agent, threads=threads)(CALL))
        finally:
            results.append(agent.ended.is_set())

    async with anyio.create_task_group() as group:
        group.start_soon(body)
        await wait_until(agent.began.is_set)
        group.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await wait_until(lambda: threads.outlived_count == 1)
            assert results == []
            agent.may_end.set()

    assert results == [True]
    assert threads.outlived_count == 0


async def test_an_abandoned_thread_is_left_and_counted(threads):
    agent = Stubborn()

    async with anyio.create_task_group() as group:
        group.start_soon(python_performer(agent, threads=threads), CALL)
        await wait_until(agent.began.is_set)
        group.cancel_scope.cancel()
        threads.abandon()

    assert threads.outlived_count == 1
    assert not agent.ended.is_set()
    agent.may_end.set()
    await wait_until(agent.ended.is_set)
    await wait_until(lambda: threads.outlived_count == 0)


async def test_a_call_that_waits_for_a_thread_is_cancelled_at_once():
    threads = AgentThreads(1)
    first, second = Stubborn(), Stubborn()

    async with anyio.create_task_group() as group:
        group.start_soon(python_performer(first, threads=threads), CALL)
        await wait_until(first.began.is_set)
        with anyio.move_on_after(0.01) as scope:
            await python_performer(second, threads=threads)(CALL)
        assert scope.cancelled_caught
        first.may_end.set()

    assert not second.began.is_set()


async def test_a_coroutine_that_comes_after_the_cancel_is_closed_not_forgotten(threads):
    agent = Stubborn()

    def late_coroutine(call):
        agent(call)
        return double(call)

    async with anyio.create_task_group() as group:
        group.start_soon(python_performer(late_coroutine, threads=threads), CALL)
        await wait_until(agent.began.is_set)
        group.cancel_scope.cancel()
        threads.abandon()

    agent.may_end.set()
    await wait_until(lambda: threads.outlived_count == 0)
    gc.collect()  # a coroutine that was forgotten would warn now, and so fail the test


@pytest.fixture
def folder(tmp_path: Path):
    """A folder for modules; what is imported from it is forgotten afterwards."""
    path, modules = sys.path.copy(), sys.modules.copy()
    yield tmp_path
    sys.path[:] = path
    for name in sys.modules.keys() - modules.keys():
        del sys.modules[name]


def write(folder: Path, **modules: str) -> str:
    for name, text in modules.items():
        file = folder.joinpath(*name.split("__")).with_suffix(".py")
        file.parent.mkdir(exist_ok=True)
        file.write_text(textwrap.dedent(text))
    return str(folder)


def test_a_function_is_found_in_the_workflows_folder(folder):
    write(
        folder, af_shop__agents="from af_beside import VALUE\nclass Till:\n  def charge(call): return VALUE"
    )
    write(folder, af_beside="VALUE = 7")

    assert load_function("af_shop.agents:Till.charge", str(folder))(None) == 7


def test_a_function_of_an_installed_module_is_found(folder):
    assert load_function("os.path:join", str(folder)) is __import__("os").path.join


def test_the_workflows_own_module_comes_before_an_installed_one(folder):
    write(folder, trio_typing="def run(call): return 'ours'")

    assert load_function("trio_typing:run", str(folder))(None) == "ours"


def test_what_lies_beside_the_workflow_shadows_nothing(folder):
    write(
        folder, af_main="import colorsys\ndef run(call): return colorsys.rgb_to_hsv", colorsys="raise OSError"
    )
    sys.modules.pop("colorsys", None)

    assert load_function("af_main:run", str(folder))(None)(0, 0, 0) == (0.0, 0.0, 0)


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("af_bad", "'af_bad' does not name a function; write package.module:function"),
        ("../af_bad:run", "does not name a function"),
        (":run", "does not name a function"),
        ("af_missing:run", "module 'af_missing' is neither in .* nor installed"),
        ("af_bad.missing:run", "importing 'af_bad.missing' failed: .*not a package|neither in"),
        ("af_bad:missing", "module 'af_bad' has no 'missing'$"),
        ("af_bad:VALUE", "'af_bad:VALUE' is a int, not a function"),
        ("colorsys:run", r"has no 'run' \('colorsys' is a module of Python itself; rename yours\)"),
        ("af_needs:run", "importing 'af_needs' failed: No module named 'af_not_there'"),
        ("af_raises:run", "importing 'af_raises' failed: ZeroDivisionError: division by zero"),
        ("af_exits:run", "importing 'af_exits' failed: SystemExit: 2"),
        ("af_syntax:run", "importing 'af_syntax' failed: SyntaxError"),
    ],
)
def test_what_cannot_be_loaded_says_why(folder, path, sentence):
    write(
        folder,
        af_bad="VALUE = 1",
        af_needs="import af_not_there",
        af_raises="1/0",
        colorsys="def run(c): ...",
    )
    write(folder, af_exits="import sys; sys.exit(2)", af_syntax="def")

    with pytest.raises(BindError, match=sentence):
        load_function(path, str(folder))


def test_a_second_module_of_the_same_name_is_an_error_not_the_first_one(folder):
    load_function("af_twice:run", write(folder / "one", af_twice="def run(call): return 1"))

    with pytest.raises(BindError, match=r"another one of that name is loaded already .*; rename one of them"):
        load_function("af_twice:run", write(folder / "two", af_twice="def run(call): return 2"))


def test_a_module_that_failed_may_be_loaded_again_once_it_is_mended(folder):
    with pytest.raises(BindError):
        load_function("af_mended:run", write(folder, af_mended="1/0"))

    assert (
        load_function("af_mended:run", write(folder, af_mended="def run(call): return 'mended'"))(None)
        == "mended"
    )
