"""Secrets: where they are read, when, and what is never said of them."""

from __future__ import annotations

import os
import traceback

import pytest

from actorflow.agents.call import AgentCall
from actorflow.agents.failure import AgentFailed, failure_of
from actorflow.agents.secrets import NOTHING_OPENED, SecretSource
from actorflow.core.events import Failure
from actorflow.expression import SecretName, compile_template
from actorflow.spec.model import SecretSpec

TOKEN = SecretName("secret", "token")
KEY = SecretName("secret", "key")
HOME = SecretName("env", "HOME")


@pytest.fixture
def environ() -> dict[str, str]:
    return {"API_TOKEN": "t0ps3cret", "HOME": "/home/me", "EMPTY": ""}


@pytest.fixture
def source(tmp_path, environ) -> SecretSource:
    secrets = {
        "token": SecretSpec(env="API_TOKEN"),
        "key": SecretSpec(file="key.txt"),
        "EMPTY": SecretSpec(env="HOME"),
    }
    return SecretSource(secrets=secrets, folder=str(tmp_path), environ=environ)


def problem(source, name) -> str:
    with pytest.raises(AgentFailed) as caught:
        source.lookup(name)
    assert caught.value.type == "environment"
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))
    return caught.value.message


def sealed(value):
    return compile_template(value, secrets=True).render({})


def test_a_name_is_a_declared_secret_first_and_the_environment_second(source):
    assert source.lookup(TOKEN) == "t0ps3cret"
    assert source.lookup(SecretName("env", "token")) == "t0ps3cret"
    assert source.lookup(HOME) == "/home/me"
    assert source.lookup(SecretName("env", "EMPTY")) == "/home/me"


def test_a_secret_that_is_not_declared_is_not_taken_from_the_environment(source):
    assert problem(source, SecretName("secret", "HOME")) == "secrets.HOME is not declared under `secrets`"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (b"s3cret", "s3cret"),
        (b"s3cret\n", "s3cret"),
        (b"s3cret\r\n", "s3cret"),
        (b" s3cret \n\n", " s3cret \n"),
        (b"", ""),
        ("ü€\n".encode(), "ü€"),
        (b"x" * 65_536, "x" * 65_536),
    ],
)
def test_a_file_is_its_text_without_the_last_line_end(source, tmp_path, written, read):
    (tmp_path / "key.txt").write_bytes(written)

    assert source.lookup(KEY) == read


def test_a_secret_is_read_anew_each_time(source, tmp_path, environ):
    (tmp_path / "key.txt").write_text("first")
    assert (source.lookup(KEY), source.lookup(TOKEN)) == ("first", "t0ps3cret")
    (tmp_path / "key.txt").write_text("second")
    environ["API_TOKEN"] = "rotated"
    assert (source.lookup(KEY), source.lookup(TOKEN)) == ("second", "rotated")


def test_what_is_not_set_is_named(source, environ):
    environ.clear()

    assert problem(source, HOME) == "the environment variable HOME is not set"
    assert (
        problem(source, TOKEN)
        == "the environment variable API_TOKEN, where the secret token is read, is not set"
    )


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda _: None, "cannot be read: No such file or directory"),
        (lambda path: path.mkdir(), "is not a regular file"),
        (os.mkfifo, "is not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "is not a regular file"),
        (lambda path: path.write_bytes(b"s3cret " * 10_000), "has more than 64 KiB"),
        (lambda path: path.write_bytes(b"s3cret\xff"), "is not UTF-8"),
        (lambda path: path.write_bytes(b"s3cret\0"), "holds a NUL, which no program can be given"),
    ],
)
def test_a_file_that_is_no_secret_is_named_and_never_quoted(source, tmp_path, make, says):
    make(tmp_path / "key.txt")

    assert problem(source, KEY) == f"the file 'key.txt', where the secret key is read, {says}"


def test_a_variable_with_a_nul_is_named_and_never_quoted(source, environ):
    environ["HOME"] = "s3cret\0"

    assert problem(source, HOME) == "the environment variable HOME holds a NUL, which no program can be given"


def test_all_that_is_missing_is_told_at_once_and_each_once(source, environ):
    del environ["HOME"]
    names = [HOME, TOKEN, KEY, HOME, SecretName("secret", "gone")]

    assert source.missing(names) == (
        "the environment variable HOME is not set",
        "the file 'key.txt', where the secret key is read, cannot be read: No such file or directory",
        "secrets.gone is not declared under `secrets`",
    )
    assert source.missing([TOKEN]) == ()


def test_variables_and_arguments_are_opened_and_values_never_looked_into(source, environ):
    environ["HOME"] = "{{ secrets.token }} ${API_TOKEN}"

    opened = source.opened(
        {"AUTH": sealed("Bearer {{ secrets.token }}"), "MODE": "plain ${HOME}"},
        ("curl", sealed("${HOME}/x"), "--"),
    )

    assert opened.env == {"AUTH": "Bearer t0ps3cret", "MODE": "plain ${HOME}"}
    assert opened.argv == ("curl", "{{ secrets.token }} ${API_TOKEN}/x", "--")
    assert source.opened({}, None).argv is None


def test_a_secret_that_cannot_be_read_fails_the_opening(source, environ):
    environ.clear()

    with pytest.raises(AgentFailed, match="HOME is not set"):
        source.opened({}, (sealed("${HOME}"),))


def test_neither_source_nor_what_it_opened_shows_a_value(source):
    opened = source.opened({"A": sealed("{{ secrets.token }}")}, None)

    assert "s3cret" not in f"{source!r} {opened!r} {opened}"


@pytest.mark.parametrize(
    ("value", "told", "hidden"),
    [
        ("s3cret", "curl: s3cret: no, s3cret", "curl: ***: no, ***"),
        (
            "s3cret",
            {"stderr": ["s3cret", 5, None], "s3cret": True},
            {"stderr": ["***", 5, None], "***": True},
        ),
        (
            'it\'s "s3cret"',
            f"not found: {'it' + chr(39) + 's ' + chr(34) + 's3cret' + chr(34)!r}",
            "not found: '***'",
        ),
        ('a"b\\s3cret', '{"x": "a\\"b\\\\s3cret"}', '{"x": "***"}'),
        ("üs3cret", '"\\u00fcs3cret"', '"***"'),
        ("first line\nsecond line", "it says: second line", "it says: ***"),
        ("  s3cret\n", "bad: s3cret", "bad: ***"),
        ("it's s3cret", "+ echo 'it'\\''s s3cret'", "+ echo '***'"),
        ("abcd\udcffefgh", "abcd\ufffdefgh", "***"),
        ("abcd", "abcdefgh", "***efgh"),
        ("eu", "europe", "europe"),
        ("", "nothing", "nothing"),
    ],
)
def test_values_are_hidden_in_whatever_is_told(source, environ, value, told, hidden):
    environ["API_TOKEN"] = value

    assert source.opened({"A": sealed("{{ secrets.token }}")}, None).hidden(told) == hidden


def test_the_longer_of_two_secrets_is_hidden_whole(source, environ):
    environ.update(API_TOKEN="abcdef", HOME="abcd")

    opened = source.opened({"A": sealed("${HOME} {{ secrets.token }}")}, None)

    assert opened.hidden("abcdef abcd") == "*** ***"


def test_a_failure_is_told_without_values(source):
    opened = source.opened({}, (sealed("${HOME}/tool"), sealed("{{ secrets.token }}")))
    error = AgentFailed(
        "no t0ps3cret", "/home/me/tool: not found", {"exit_status": 127, "stderr": "t0ps3cret"}
    )

    assert opened.hidden_failure(error) == Failure(
        "no ***", "***/tool: not found", {"exit_status": 127, "stderr": "***"}
    )


@pytest.mark.parametrize("wrap", [ValueError, lambda text: AgentFailed("x", text)])
def test_a_message_is_cut_when_its_values_are_out_of_it(source, wrap):
    opened = source.opened({}, (sealed("{{ secrets.token }}"),))
    errors = [wrap("x" * (4096 - count) + "t0ps3cret" * 2) for count in range(2, 20)]

    messages = [opened.hidden_failure(error).message for error in errors]
    group = opened.hidden_failure(ExceptionGroup("both", [errors[5], errors[9]]))

    assert not [message for message in (*messages, str(group)) if "t0ps" in message]


@pytest.mark.parametrize(
    ("told", "hidden"),
    [
        ("t0ps3cret and more", "*** and more"),
        ("s3cret, then t0ps3cret", "***, then t0ps3cret"),
        ("cret", "***"),
        ("\ufffdcret yes", "*** yes"),
        ("ret: too short", "ret: too short"),
        ("creature", "creature"),
        ("no s3cret", "no s3cret"),
        ("", ""),
    ],
)
def test_the_rest_of_a_value_is_hidden_where_a_beginning_was_cut_off(source, told, hidden):
    opened = source.opened({}, (sealed("{{ secrets.token }}"),))

    assert opened.hiding.after_cut(told) == hidden


@pytest.mark.parametrize(
    ("value", "number"), [("48291377", 48291377), ("-1234", -1234), ("12.50", 12.5), ("1e10", 10_000_000_000)]
)
def test_a_value_that_is_a_number_is_hidden_as_one(source, environ, value, number):
    environ["API_TOKEN"] = value
    opened = source.opened({}, (sealed("{{ secrets.token }}"),))

    assert opened.hidden({"pin": [number, number + 1, True, None]}) == {
        "pin": ["***", number + 1, True, None]
    }


def test_without_secrets_all_is_told():
    told = {"a": ["b"]}

    assert NOTHING_OPENED.hidden(told) is told
    assert NOTHING_OPENED.hidden_failure(AgentFailed("x", "y")) == Failure("x", "y")


def test_a_failure_of_a_lookup_is_recorded_as_what_it_is(source, environ):
    environ.clear()

    with pytest.raises(AgentFailed) as caught:
        source.lookup(HOME)

    assert failure_of(caught.value).type == "environment"


def test_a_call_that_is_logged_shows_neither_variables_nor_arguments():
    call = AgentCall(input={}, task="t", run_id="r", env={"T": "s3cret"}, argv=("s3cret",))

    assert "s3cret" not in repr(call)
