"""The programs that a shell's text names, as far as that can be read without a shell.

A best effort, for people: what stands behind a variable, or after a program such as `sudo`, is not found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from attrs import define, field

__all__ = ["programs_of"]

_LONGEST_TEXT: Final = 64 * 1024
_TOKEN: Final = re.compile(
    r"""(?:[ \t\r]|\\\n)*+
    (?: \#[^\n]*+
    | (?P<punctuation> [();<>|&\n]++ )
    | (?P<word> (?: [^\s'"\\();<>|&] | \\. | '[^']*+' | "(?:[^"\\]|\\.)*+" )++ )
    )""",
    re.VERBOSE | re.DOTALL,
)
_DOUBLE_QUOTED: Final = re.compile(r"'[^']*+'|\"((?:[^\"\\]|\\.)*+)\"", re.DOTALL)
_SUBSTITUTION: Final = re.compile(r"\$\(([^()]++)\)")
_ASSIGNMENT: Final = re.compile(r"[A-Za-z_]\w*\+?=")
_PROGRAM: Final = re.compile(r"[\w.+~/@-]*[A-Za-z][\w.+/@-]*")
_HEREDOC: Final = re.compile(r"<<-?[ \t]*(['\"]?)(\w+)\1")

# Words after which a command begins, and those that the shell itself performs.
_OPENERS: Final = frozenset(
    {"if", "then", "else", "elif", "while", "until", "do", "!", "{", "time", "exec", "command"}
)
_BUILTINS: Final = frozenset(
    {
        ".", ":", "[", "[[", "]]", "}", "alias", "bg", "bind", "break", "builtin", "caller", "case", "cd", "compgen",
        "complete", "continue", "coproc", "declare", "dirs", "disown", "done", "echo", "enable", "esac", "eval", "exit",
        "export", "false", "fc", "fg", "fi", "for", "function", "getopts", "hash", "help", "history", "jobs", "kill",
        "let", "local", "logout", "mapfile", "popd", "printf", "pushd", "pwd", "read", "readarray", "readonly", "return",
        "select", "set", "shift", "shopt", "source", "suspend", "test", "times", "trap", "true", "type", "typeset",
        "ulimit", "umask", "unalias", "unset", "wait",
    }
)  # fmt: skip


def programs_of(text: str) -> tuple[str, ...]:
    """The first word of each simple command, each once, without what the shell does itself."""
    reading = _Reading()
    for word, punctuation in _tokens(_without_heredocs(text[:_LONGEST_TEXT])):
        if punctuation:
            reading.take_punctuation(punctuation)
        else:
            reading.take_word(word)
    return tuple(name for name in dict.fromkeys(reading.programs) if name not in reading.functions)


@define
class _Reading:
    """Where in a command the reading stands, and what was found so far."""

    programs: list[str] = field(factory=list[str])
    functions: set[str] = field(factory=set[str])
    parenthesis_count: int = 0  #: open ones
    statement_start: int = 0  #: how many programs there were before the statement that is being read
    first_word: str | None = None  #: of the simple command that is being read; None before it
    expects_file: bool = False  #: after a redirection
    is_arithmetic: bool = False

    def take_word(self, word: str) -> None:
        for quoted in _DOUBLE_QUOTED.findall(word):
            for command in _SUBSTITUTION.findall(quoted):
                self.programs += programs_of(command)
        if self.expects_file:
            self.expects_file = False
        elif self.first_word is None and not self.is_arithmetic and not _is_before_command(word):
            self.first_word = word.strip("'\"")
            if self.first_word not in _BUILTINS and _PROGRAM.fullmatch(self.first_word):
                self.programs.append(self.first_word)

    def take_punctuation(self, token: str) -> None:
        if self.is_arithmetic:
            self.is_arithmetic = not token.startswith("))")
            if len(token) > 2:
                self._end_command(token[2:])
        elif token.startswith("(("):
            self.is_arithmetic = True
        elif ("<" in token or ">" in token) and "(" not in token and "\n" not in token:
            self.expects_file = True
        else:
            self._end_command(token)

    def _end_command(self, token: str) -> None:
        if token.startswith("()") and self.first_word is not None:
            self.functions.add(self.first_word)
        elif token.startswith(")") and not self.parenthesis_count:
            del self.programs[self.statement_start :]  # the patterns of a `case`
        self.parenthesis_count = max(0, self.parenthesis_count + token.count("(") - token.count(")"))
        if ";" in token or "\n" in token:
            self.statement_start = len(self.programs)
        self.first_word, self.expects_file = None, False


def _is_before_command(word: str) -> bool:
    """Whether a command may still follow: after `then`, an assignment, or the number of a redirection."""
    return word in _OPENERS or word.isdigit() or _ASSIGNMENT.match(word) is not None


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    """Pairs of a word and a run of punctuation, one of them empty, as far as the quotes are closed."""
    place = 0
    while (found := _TOKEN.match(text, place)) is not None and found.end() > place:
        place = found.end()
        if found["word"] or found["punctuation"]:
            yield found["word"] or "", found["punctuation"] or ""


def _without_heredocs(text: str) -> str:
    """The text without the bodies of `<<END`."""
    kept: list[str] = []
    ends: list[str] = []
    for line in text.split("\n"):
        if ends:
            if line.strip() == ends[0]:
                ends.pop(0)
            continue
        kept.append(line)
        ends = [found[2] for found in _HEREDOC.finditer(line)]
    return "\n".join(kept)
