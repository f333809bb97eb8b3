"""The operator's page and the twin's cameras, as processes beside a run."""

from __future__ import annotations

import logging
import socket
from pathlib import Path

from robot_rl.console.access import Access
from robot_rl.control.progress import State
from robot_rl.control.session import Session
from robot_rl.errors import ConfigError
from robot_rl.processes import Children

log = logging.getLogger(__name__)

ANNOUNCEMENT = "operator's page: "
"""What the console prints before its address."""
HERE = Access()


def free_port(wanted: int, access: Access = HERE) -> int:
    """`wanted`, or one that the system chooses if that is 0 or something else listens there.

    A number, never 0: a console that is started again has the address of the one before.
    """
    address = access.address
    with socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((str(address), wanted))
        except OSError:
            probe.bind((str(address), 0))
        port: int = probe.getsockname()[1]
    return port


def start_cameras(
    children: Children, module: str, task_yaml: Path, *, states: str, frames: str, acted_on: bool = False
) -> None:
    """The process that draws what a twin's cameras see; `module` is the twin's own. `acted_on`: by a policy."""
    arguments = ["--task", str(task_yaml), "--states", states, "--frames", frames]
    children.start("cameras", module, [*arguments, *(["--acted-on"] if acted_on else [])])


class OperatorPage:
    """Starts the console; `url` is there as soon as it has said it. Episodes of `run` can be looked at again on it."""

    def __init__(
        self, children: Children, port: int, access: Access = HERE, *, actor: str, guard: str, frames: str,
        run: Path | None = None,
    ) -> None:  # fmt: skip
        self._children = children
        self._told = False
        arguments = ["--actor", actor, "--guard", guard, "--frames", frames, "--port", str(free_port(port, access))]
        arguments += ["--run", str(run)] if run else []
        children.start("console", "robot_rl.console", [*arguments, *access.arguments])

    def news(self) -> str | None:
        """The page's address, once."""
        url = None if self._told else announced(self._children)
        self._told = self._told or url is not None
        return url


def announced(children: Children) -> str | None:
    """The address that the console among `children` has said."""
    lines = children.log_tail("console").splitlines()
    return next((line.removeprefix(ANNOUNCEMENT) for line in lines if line.startswith(ANNOUNCEMENT)), None)


class LatchNotice:
    """Says on the terminal, once each time, that a STOP or a FAULT waits for a person."""

    def __init__(self, session: Session, *, clearable: bool) -> None:
        self._session, self._clearable = session, clearable
        self._seen = State.DISARMED

    def look(self) -> None:
        """Raises `ConfigError` if there is no page to clear it on."""
        now = self._session.now
        before, self._seen = self._seen, now.state
        if now.state is before or now.state not in (State.STOPPED, State.FAULT):
            return
        if not self._clearable:
            raise ConfigError(
                f"{now.state.value}: {now.why}. Only a person clears this, on the operator's page: resume the run "
                "without --no-console"
            )
        log.warning(
            "%s: %s. It waits for a person: clear it on the operator's page, then run", now.state.value, now.why
        )
