"""`python -m robot_rl.console`: the operator's page as a process of its own, on this machine's loopback only."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import uvicorn
from fastapi import FastAPI

from robot_rl.console.app import create_app
from robot_rl.console.messages import LIMIT_BYTES
from robot_rl.console.port import OperatorPort
from robot_rl.console.security import authorities, bind_loopback
from robot_rl.console.service import ServicePort
from robot_rl.errors import RobotRLError
from robot_rl.processes import end_with_parent


def make_server(port: OperatorPort, hosts: frozenset[str]) -> uvicorn.Server:
    """A uvicorn server for the console."""
    return server_of(create_app(port, hosts))


def server_of(app: FastAPI) -> uvicorn.Server:
    """A uvicorn server: no compression, small messages in, one second to say goodbye."""
    config = uvicorn.Config(
        app,
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        ws_max_size=LIMIT_BYTES,
        ws_ping_interval=5.0,
        ws_ping_timeout=5.0,
        timeout_graceful_shutdown=1,
        access_log=False,
        log_level="warning",
    )
    return uvicorn.Server(config)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM; 2 when the arguments cannot be meant."""
    parser = argparse.ArgumentParser(prog="python -m robot_rl.console", description=__doc__)
    parser.add_argument("--actor", required=True, help="endpoint of the actor's calls, e.g. ipc:///run/actor")
    parser.add_argument("--guard", required=True, help="endpoint of the guard, which STOP and the heartbeat go to")
    parser.add_argument("--frames", required=True, help="endpoint on which the cameras publish JPEG frames")
    parser.add_argument("--host", default="127.0.0.1", help="loopback address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="TCP port, 0 picks a free one (default: %(default)s)")
    arguments = parser.parse_args(argv)
    try:
        listener = bind_loopback(arguments.host, arguments.port)
    except RobotRLError as error:
        print(f"console: {error}", file=sys.stderr)
        return 2
    end_with_parent()
    number = listener.getsockname()[1]
    port = ServicePort(arguments.actor, arguments.guard, arguments.frames)
    print(f"operator's page: http://localhost:{number}/", flush=True)
    try:
        make_server(port, authorities(number)).run(sockets=[listener])
    except KeyboardInterrupt:
        pass  # uvicorn has shut down in order and raises it once more
    finally:
        port.close()
        listener.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
