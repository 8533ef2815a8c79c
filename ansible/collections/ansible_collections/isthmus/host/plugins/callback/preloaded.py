"""Workers find loaded what nearly each of them needs.

Ansible forks a process for each task of each host, and in it loads the plugins that the task's templates name, all
files of filters at the first filter, which are lost with it. What was loaded before, all have.
"""

from __future__ import annotations

from typing import Any

from ansible.module_utils.common.json import Direction, get_module_decoder, get_module_encoder
from ansible.plugins.callback import CallbackBase
from ansible.plugins.loader import action_loader, filter_loader, lookup_loader, test_loader

DOCUMENTATION = """
    name: preloaded
    type: aggregate
    short_description: loads plugins once, before processes are forked
    description:
      - Loads all filters and tests, and what tasks of this collection's roles begin with.
      - It is a callback because those are loaded before the first task, in the process from which workers are forked.
    requirements:
      - enable in configuration
"""

NAMED = ((filter_loader, "isthmus.host.host_problems"), (lookup_loader, "ansible.builtin.template"))
"""Of collections' plugins, which are found by name."""


def load() -> None:
    """Loads them into this process."""
    for loader in (filter_loader, test_loader):
        for _ in loader.all():
            pass
    for loader, name in NAMED:
        loader.get(name)
    action_loader.get("ansible.builtin.normal", class_only=True)
    get_module_encoder("legacy", Direction.CONTROLLER_TO_MODULE)
    get_module_decoder("legacy", Direction.MODULE_TO_CONTROLLER)


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Tells nothing: being loaded is what it is for."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "isthmus.host.preloaded"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        load()
