"""The node `console`: the operator's page. It talks to actor and guard over their own sockets, STOP to the guard."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from robot_rl.console.__main__ import main as serve_page
from robot_rl.console.access import LOOPBACK, Access
from robot_rl_ros.node import Live, Parameter, serve_node

PARAMETERS: Mapping[str, Parameter] = {
    "actor": (str, "endpoint of the actor's calls, e.g. ipc:///run/actor"),
    "guard": (str, "endpoint of the guard, which STOP and the heartbeat go to"),
    "frames": (str, "endpoint on which the cameras publish JPEG frames"),
    "port": (8000, "TCP port of the page", (1, 65535)),
    "host": (LOOPBACK, "address that the page is served on; another than loopback needs a certificate and a link"),
    "token": (False, "loopback too opens by a one-time link alone"),
    "insecure": (False, "other machines without TLS, and without link"),
}


def work(live: Live) -> int:
    """Until it is told to end; its exit status."""
    given = live.parameters
    access = Access(str(given["host"]), bool(given["token"]), bool(given["insecure"]))
    words = [word for name in ("actor", "guard", "frames", "port") for word in (f"--{name}", str(given[name]))]
    return serve_page([*words, *access.arguments])


def main() -> int:
    """Its exit status."""
    return serve_node("console", PARAMETERS, work)


if __name__ == "__main__":
    sys.exit(main())
