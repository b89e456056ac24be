"""What ACTORFLOW_ENV and ACTORFLOW_HOOKS say about hooks."""

from __future__ import annotations

import pytest

from actorflow.hooks.switches import HookSwitches
from actorflow.spec.model import HookSpec

OFF = "switched off by ACTORFLOW_HOOKS"
PATH = "task_finished[0]"


@pytest.mark.parametrize(
    ("environ", "environments", "reason"),
    [
        ({}, (), ""),
        ({}, ("development",), ""),
        ({}, ("prod",), "not for the environment development"),
        ({"ACTORFLOW_ENV": ""}, ("development",), ""),
        ({"ACTORFLOW_ENV": "prod"}, ("staging", "prod"), ""),
        ({"ACTORFLOW_ENV": " prod "}, ("prod",), ""),
        ({"ACTORFLOW_ENV": "prod"}, (), ""),
        ({"ACTORFLOW_ENV": "prod"}, ("production",), "not for the environment prod"),
    ],
)
def test_the_environment_chooses_hooks(environ: dict[str, str], environments: tuple[str, ...], reason: str):
    spec = HookSpec(environments=environments)
    assert HookSwitches.from_environment(environ).skip_reason(spec, PATH) == reason


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        *((word, OFF) for word in ("off", "OFF", " off ", "0", "false", "no")),
        *((word, "") for word in ("", "  ", "on", "1", "true", "yes", "On")),
        *((listed, OFF) for listed in ("audit", "other,audit", "other audit", " audit , ", "webhook", PATH)),
        *((listed, "") for listed in ("other", "Audit", "audits", "task_finished[1]", "task_finished", ",")),
    ],
)
def test_the_kill_switch_turns_off_all_hooks_or_those_that_are_listed(value: str, reason: str):
    spec = HookSpec(action="webhook", name="audit")
    assert HookSwitches.from_environment({"ACTORFLOW_HOOKS": value}).skip_reason(spec, PATH) == reason


def test_a_hook_without_a_name_is_not_switched_off_by_accident():
    assert HookSwitches.from_environment({"ACTORFLOW_HOOKS": ",,"}).skip_reason(HookSpec(), PATH) == ""
