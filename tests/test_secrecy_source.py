"""Where secrets are read, when, and what is never said of them."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from actorflow.expression import SecretName
from actorflow.secrecy.source import SecretSource, SecretUnreadable
from actorflow.spec.model import SecretSpec

TOKEN = SecretName("secret", "token")
KEY = SecretName("secret", "key")
HOME = SecretName("env", "HOME")


@pytest.fixture
def environ() -> dict[str, str]:
    return {"API_TOKEN": "t0ps3cret", "HOME": "/home/me", "EMPTY": ""}


@pytest.fixture
def source(tmp_path: Path, environ: dict[str, str]) -> SecretSource:
    secrets = {
        "token": SecretSpec(env="API_TOKEN"),
        "key": SecretSpec(file="key.txt"),
        "EMPTY": SecretSpec(env="HOME"),
    }
    return SecretSource(secrets=secrets, folder=str(tmp_path), environ=environ)


def problem(source: SecretSource, name: SecretName) -> str:
    with pytest.raises(SecretUnreadable) as caught:
        source.lookup(name)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))
    return str(caught.value)


def test_a_name_is_a_declared_secret_first_and_the_environment_second(source: SecretSource):
    assert source.lookup(TOKEN) == "t0ps3cret"
    assert source.lookup(SecretName("env", "token")) == "t0ps3cret"
    assert source.lookup(HOME) == "/home/me"
    assert source.lookup(SecretName("env", "EMPTY")) == "/home/me"


def test_a_secret_that_is_not_declared_is_not_taken_from_the_environment(source: SecretSource):
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
def test_a_file_is_its_text_without_the_last_line_end(
    source: SecretSource, tmp_path: Path, written: bytes, read: str
):
    (tmp_path / "key.txt").write_bytes(written)

    assert source.lookup(KEY) == read


def test_a_secret_is_read_anew_each_time(source: SecretSource, tmp_path: Path, environ: dict[str, str]):
    (tmp_path / "key.txt").write_text("first")
    assert (source.lookup(KEY), source.lookup(TOKEN)) == ("first", "t0ps3cret")
    (tmp_path / "key.txt").write_text("second")
    environ["API_TOKEN"] = "rotated"
    assert (source.lookup(KEY), source.lookup(TOKEN)) == ("second", "rotated")


def test_what_is_not_set_is_named(source: SecretSource, environ: dict[str, str]):
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
def test_a_file_that_is_no_secret_is_named_and_never_quoted(
    source: SecretSource, tmp_path: Path, make: Callable[[Path], object], says: str
):
    make(tmp_path / "key.txt")

    assert problem(source, KEY) == f"the file 'key.txt', where the secret key is read, {says}"


def test_a_variable_with_a_nul_is_named_and_never_quoted(source: SecretSource, environ: dict[str, str]):
    environ["HOME"] = "s3cret\0"

    assert problem(source, HOME) == "the environment variable HOME holds a NUL, which no program can be given"


def test_all_that_is_missing_is_told_at_once_and_each_once(source: SecretSource, environ: dict[str, str]):
    del environ["HOME"]
    names = [HOME, TOKEN, KEY, HOME, SecretName("secret", "gone")]

    assert source.missing(names) == (
        "the environment variable HOME is not set",
        "the file 'key.txt', where the secret key is read, cannot be read: No such file or directory",
        "secrets.gone is not declared under `secrets`",
    )
    assert source.missing([TOKEN]) == ()


def test_a_source_shows_no_value(source: SecretSource):
    assert "s3cret" not in repr(source)
