"""The operator's commands and labels as services of the actor's node, by the rules of the operator's page.

They take the way that the page's calls take, to the same session. What it refuses comes back as `success` false with
its reason, which says what is legal, and nothing has changed.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from rclpy.node import Node
from std_srvs.srv import Trigger

from robot_rl.errors import DeadlineMissed, RobotRLError, nearest
from robot_rl.wire.rpc import RpcClient
from robot_rl_ros.own import interfaces

TRIGGERS = ("arm", "run", "pause", "end", "reset_done", "clear")
"""A service `~/NAME` each. STOP is the guard's own: robot/stop."""
COMMANDS = (*TRIGGERS, "undo")
AUTHOR = "ros"
ANSWER_S = 5.0
"""As long as the page waits: a label is answered when it is on the disk."""
NOT_A_CORRECTION = -1


@dataclass(frozen=True)
class Outcome:
    """What came of a command."""

    done: bool
    message: str
    answer: Mapping[str, Any]


class OperatorServices:
    """Services of `node` in front of the actor that answers on `endpoint`; `close` before the node is destroyed."""

    def __init__(self, node: Node, endpoint: str) -> None:
        self._actor = RpcClient(endpoint)
        self._lock = threading.Lock()
        self._closed = False
        for name in TRIGGERS:
            node.create_service(Trigger, f"~/{name}", partial(self._trigger, name))
        if own := interfaces(node, "srv"):
            node.create_service(own.Label, "~/label", self._label)
            node.create_service(own.Command, "~/command", self._command)

    def close(self) -> None:
        """Refuse what comes from now on."""
        with self._lock:
            self._closed = True
            self._actor.close()

    def _trigger(self, name: str, request: Any, response: Any) -> Any:
        try:
            args = {"cause_id": self._one_cause()} if name == "clear" else {}
        except RobotRLError as error:
            response.success, response.message = False, str(error)
            return response
        outcome = self._ask(name, args, AUTHOR)
        response.success, response.message = outcome.done, outcome.message
        return response

    def _command(self, request: Any, response: Any) -> Any:
        name = request.name
        if name not in COMMANDS:
            elsewhere = {"stop": "it is the service robot/stop", "label": "it is the service ~/label"}
            words = elsewhere.get(name) or f"expected one of {', '.join(COMMANDS)}{nearest(name, COMMANDS)}"
            response.success, response.message = False, f"command {name!r}: {words}"
            return response
        args = {"undo": {"episode": request.episode}, "clear": {"cause_id": request.cause_id}}.get(name, {})
        outcome = self._ask(name, args, request.author or AUTHOR)
        response.success, response.message = outcome.done, outcome.message
        response.state = str(outcome.answer.get("state", ""))
        return response

    def _label(self, request: Any, response: Any) -> Any:
        args = {"event_id": request.event_id, "episode": request.episode, "value": request.value}
        if request.expected_revision != NOT_A_CORRECTION:
            args["expected_revision"] = request.expected_revision
        outcome = self._ask("label", args, request.author or AUTHOR)
        response.success, response.message = outcome.done, outcome.message
        response.stored = bool(outcome.answer.get("stored", False))
        response.revision = int(outcome.answer.get("label_revision", 0))
        return response

    def _one_cause(self) -> str:
        """The one that is latched. Raises `RobotRLError` for several: each is looked into before it is cleared."""
        state = self._call("snapshot", {})
        causes = [cause for cause in state["safety"]["causes"] if cause["level"] in ("STOP", "FAULT")]
        if len(causes) > 1:
            known = "; ".join(f"{cause['id']} ({cause['kind']}: {cause['detail']})" for cause in causes)
            raise RobotRLError(f"clear: several causes are latched: {known}; name one of them with ~/command")
        return str(causes[0]["id"]) if causes else "none is latched"

    def _ask(self, name: str, args: Mapping[str, Any], author: str) -> Outcome:
        try:
            answer = self._call("command", {"name": name, "args": dict(args), "author": author})
        except DeadlineMissed as error:
            return Outcome(False, f"{error}; whether it was done, the state says", {})
        except RobotRLError as error:
            return Outcome(False, str(error), {})
        return Outcome(True, str(answer.get("state", "")), answer)

    def _call(self, name: str, header: Mapping[str, Any]) -> Mapping[str, Any]:
        with self._lock:
            if self._closed:
                raise RobotRLError(f"{name}: the run has ended")
            return self._actor.call(name, header, timeout_s=ANSWER_S)[0]
