"""`python -m robot_rl.console`: the operator's page as a process of its own; on loopback, unless told otherwise."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState

from robot_rl.console.access import Access
from robot_rl.console.again import Recordings
from robot_rl.console.app import create_app
from robot_rl.console.entrance import open_entrance
from robot_rl.console.installation import installation, listed
from robot_rl.console.messages import LIMIT_BYTES
from robot_rl.console.port import OperatorPort
from robot_rl.console.security import Door
from robot_rl.console.service import ServicePort
from robot_rl.errors import RobotRLError
from robot_rl.processes import end_with_parent
from robot_rl.store.run import RunDirectory


class Sockets(WebSocketsSansIOProtocol):
    """uvicorn's; one that is being closed by its client when the server ends is no error (with uvicorn's own it is)."""

    def shutdown(self) -> None:
        try:
            super().shutdown()
        except InvalidState:
            self.transport.close()


def make_server(
    port: OperatorPort, door: Door, pem: Path | None = None, recordings: Recordings | None = None
) -> uvicorn.Server:
    """A uvicorn server for the console, with TLS if there is a `pem`; `recordings` can be looked at again."""
    return server_of(create_app(port, door, recordings), pem)


def server_of(app: FastAPI, pem: Path | None = None) -> uvicorn.Server:
    """A uvicorn server: no compression, no log of requests, small messages in, one second to say goodbye."""
    config = uvicorn.Config(
        app,
        ws=Sockets,
        ws_per_message_deflate=False,
        ws_max_size=LIMIT_BYTES,
        ws_ping_interval=5.0,
        ws_ping_timeout=5.0,
        timeout_graceful_shutdown=1,
        access_log=False,
        log_level="warning",
        ssl_certfile=pem,
    )
    return uvicorn.Server(config)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM; 2 when the arguments cannot be meant."""
    parser = argparse.ArgumentParser(prog="python -m robot_rl.console", description=__doc__)
    parser.add_argument("--actor", required=True, help="endpoint of the actor's calls, e.g. ipc:///run/actor")
    parser.add_argument("--guard", required=True, help="endpoint of the guard, which STOP and the heartbeat go to")
    parser.add_argument("--frames", required=True, help="endpoint on which the cameras publish JPEG frames")
    parser.add_argument("--run", type=Path, help="the run's directory, whose episodes can be looked at again")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on, 0.0.0.0: all (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="TCP port, 0 picks a free one (default: %(default)s)")
    parser.add_argument("--token", action="store_true", help="loopback too opens by a one-time link alone")
    parser.add_argument("--insecure", action="store_true", help="other machines without TLS, and without link")
    arguments = parser.parse_args(argv)
    try:
        access = Access(arguments.host, arguments.token, arguments.insecure)
        recordings = Recordings(RunDirectory.look(arguments.run)) if arguments.run else None
        entrance = open_entrance(access, arguments.port)
    except RobotRLError as error:
        print(f"console: {error}", file=sys.stderr)
        return 2
    end_with_parent()
    port = ServicePort(arguments.actor, arguments.guard, arguments.frames)
    print(f"operator's page: {entrance.url}", flush=True)  # never with a link's word: this may be a log
    known = listed(installation(), entrance.url) if access.guarded else contextlib.nullcontext()
    try:
        with known:
            make_server(port, entrance.door, entrance.pem, recordings).run(sockets=[entrance.listener])
    except KeyboardInterrupt:
        pass  # uvicorn has shut down in order and raises it once more
    finally:
        port.close()
        entrance.listener.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
