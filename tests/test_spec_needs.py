"""What a workflow needs of the world, as it can be read from its definition."""

from __future__ import annotations

from pathlib import Path

import pytest

from actorflow import load, loads
from actorflow.spec.needs import Needs, needs
from actorflow.spec.shell_words import programs_of

SEED = Path(__file__).parent / "seed"

SHELL = [
    ("a command with words", "pg_dump production > /backups/x.sql", "pg_dump"),
    ("a pipe", "echo done | mail -s 'it is done' a@example.com", "mail"),
    ("a list", "cd /tmp && make -j2; ./run.sh || true", "make ./run.sh"),
    ("assignments", "A=1 B='x y' ls", "ls"),
    ("only assignments", "A=1 B=2", ""),
    ("a path", "/usr/bin/env python3 x.py", "/usr/bin/env"),
    ("a conditional", 'if [ "$A" -lt 3 ]; then\n  exit 75\nfi\nawk -F, "{print}" f.csv', "awk"),
    ("negation", "! grep -q x y", "grep"),
    ("a for loop", "for x in a b c; do gzip $x; done", "gzip"),
    ("a while loop", "while read l; do wc; done < f", "wc"),
    ("a case", 'case "$x" in\n a) foo;;\n b|c) bar -x;;\nesac\nbaz', "foo bar baz"),
    ("a function", "greet() { curl x; }; greet", "curl"),
    ("a subshell", "(cd x; tar c .) | gzip", "tar gzip"),
    ("a substitution", "aws s3 sync a s3://m/$(date +%Y)", "aws date"),
    ("a substitution in quotes", 'aws s3 sync a "s3://m/$(date +%Y)"', "aws date"),
    ("no substitution in single quotes", "aws s3 ls '$(date)'", "aws"),
    ("a process substitution", "diff <(sort a) <(uniq b)", "diff sort uniq"),
    ("arithmetic", "echo $((1+x)); tr a b", "tr"),
    ("redirections first", "2>&1 > out jq .", "jq"),
    ("a heredoc", "cat <<EOF | sort\nrm x\nEOF\nuniq", "cat sort uniq"),
    ("comments", "# it's here\nls # and rm there", "ls"),
    ("a line that goes on", "a && \\\n b", "a b"),
    ("exec", "exec node x.js", "node"),
    ("quoted words", '"./my tool"; "curl" x', "curl"),
    ("quoted punctuation", "find . -exec rm {} \\; -name ';'", "find"),
    ("a variable", "$EDITOR x; ${PAGER} y", ""),
    ("each once", "ls; ls; wc", "ls wc"),
    ("a quote that stays open", "ls; echo 'rm x", "ls"),
    ("nothing", "  \n# nothing\n", ""),
]


@pytest.mark.parametrize(("text", "programs"), [pytest.param(*row[1:], id=row[0]) for row in SHELL])
def test_the_programs_of_a_shell_text(text: str, programs: str):
    assert programs_of(text) == tuple(programs.split())


@pytest.mark.parametrize(
    "text", ["'" * 60_000, '"\\' * 30_000, "((" * 30_000, "<<A\n" * 15_000, "$(" * 30_000]
)
def test_a_hostile_text_is_read_in_no_time(text: str):
    """Each of these would take minutes if the reading went back and forth."""
    assert isinstance(programs_of(text), tuple)


WHOLE = """
env: [REGION_HINT]
secrets: {token: {env: API_TOKEN}, key: {file: key.txt}, NAMED: {env: OF_NAMED}}
defaults: {hooks: {task_finished: [{type: webhook, params: {url: "https://Hooks.example.com:8443/x?y"}}]}}
agents:
  live: {http: {url: "https://api.example.com/v1", headers: {X-A: "${HEADER_KEY}", X-B: "${NAMED}"}, auth: {bearer: "{{ secrets.token }}"}}}
  spare: {script: {language: ruby, file: spare.rb, args: ["${ARG_KEY}"]}}
  idle: {command: "never-used"}
hooks:
  pre_workflow: [[sh, -c, "mkdir -p out; tar xf a"], {command: [notify-send, "${DESKTOP}"]}]
  task_finished:
    - {type: dispatch_task, params: {task_id: mailer}}
    - {type: dispatch_task, params: {task_id: fetch}}
    - {type: notify, params: {message: done, channels: [{type: slack, url: "${SLACK_URL}"}, {type: file, path: told.txt}]}}
    - {type: webhook, when: "{{ task.status == 'failed' }}", params: {url: "${WEBHOOK_URL}/x/{{ task.id }}", sign: {secret: "${SIGN_KEY}"}}}
tasks:
  fetch: {agent: live, env: {A: "${TASK_KEY}"}, on_error: {fallback_agent: [spare, stranger]}}
  each:
    type: collection
    items: {file: rows.csv, format: csv}
    tasks: [{id: send, http: {url: "https://{{ item }}/x"}}]
  inner: {type: composite, uses: other.yaml}
  told:
    agent: live
    on_complete: {notify: {message: m, channels: [{type: ntfy, url: "https://ntfy.example.com/t", headers: {Authorization: "Bearer ${NTFY_TOKEN}"}}]}}
  text: {script: "set -e\\njq . data.json"}
  shell: {command: "curl -s https://elsewhere.example.com | grep x", hooks: {task_started: ["logger started"]}}
"""


def test_what_a_workflow_needs_is_gathered_from_all_its_corners():
    assert needs(loads(WHOLE, trust="own")) == Needs(
        hosts=(
            "https://api.example.com",
            "https://{{ item }}",
            "https://ntfy.example.com",
            "${SLACK_URL}",
            "${WEBHOOK_URL}",
            "https://Hooks.example.com:8443",
        ),
        environment=(
            "REGION_HINT",
            "API_TOKEN",
            "OF_NAMED",
            "NTFY_TOKEN",
            "TASK_KEY",
            "HEADER_KEY",
            "ARG_KEY",
            "DESKTOP",
            "SLACK_URL",
            "WEBHOOK_URL",
            "SIGN_KEY",
        ),
        programs=("ruby", "bash", "jq", "curl", "grep", "sh", "mkdir", "tar", "notify-send", "logger"),
        agents=("live", "spare", "stranger", "mailer"),
        unbound_agents=("stranger", "mailer"),
        files=("key.txt", "spare.rb", "told.txt", "rows.csv", "other.yaml"),
    )


def test_a_file_with_several_workflows_needs_what_any_of_them_does():
    text = (
        "agents: {b: {command: gzip}}\n"
        "tasks: {one: {agent: a}, two: {agent: b}}\n"
        "workflows:\n"
        "  first: {steps: [{stage: s, tasks: [one]}]}\n"
        "  second: {steps: [{stage: s, tasks: [two]}], hooks: {on_error: [mail]}}\n"
    )
    found = needs(loads(text, trust="own"))
    assert (found.agents, found.unbound_agents, found.programs) == (("a", "b"), ("a",), ("gzip", "mail"))


@pytest.mark.parametrize("path", sorted(SEED.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_seed_says_what_it_needs(path: Path):
    found = needs(load(path))
    assert found.unbound_agents or found.programs


def test_a_workflow_of_python_alone_needs_nothing():
    spec = loads('tasks: {a: {python: "m:f"}, b: {script: {language: python, text: "1"}}}', trust="own")
    assert needs(spec) == Needs((), (), (), (), (), ())
