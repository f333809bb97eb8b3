"""`python -m robot_rl.serve POLICY`: a frozen policy in a process of its own."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from robot_rl.errors import RobotRLError
from robot_rl.learn.memory import keep_memory
from robot_rl.processes import stop_event
from robot_rl.serve.batching import Batching
from robot_rl.serve.contexts import KEEP_BYTES, KEEP_S
from robot_rl.serve.loading import load_policy
from robot_rl.serve.server import PolicyServer
from robot_rl.wire.keys import ServerKeys, read_keys


def main(arguments: list[str] | None = None, prog: str = "python -m robot_rl.serve") -> int:
    """Serve until SIGINT or SIGTERM; returns the exit status."""
    parser = argparse.ArgumentParser(prog=prog, description="Serve a frozen policy.")
    parser.add_argument(
        "policy",
        help="a checkpoint (.safetensors with its .json), lerobot:FOLDER, openpi:SETTINGS.json, or module:factory of "
        "your own",
    )
    parser.add_argument("--endpoint", default="tcp://127.0.0.1:5601", help="where to listen (%(default)s)")
    parser.add_argument(
        "--keys", type=Path, metavar="FILE", help="the server's keys: only clients that it names come in"
    )
    parser.add_argument(
        "--allow-remote", action="store_true", help="let other machines connect without keys; nobody is authenticated"
    )
    parser.add_argument(
        "--keep", type=float, default=KEEP_S, metavar="S", help="seconds a context is kept (%(default)g)"
    )
    parser.add_argument(
        "--keep-mb",
        type=int,
        default=KEEP_BYTES >> 20,
        metavar="MB",
        help="memory of all contexts that are kept, on the model's device too; the oldest go first (%(default)s)",
    )
    parser.add_argument(
        "--max-batch", type=int, default=Batching.rows, metavar="N", help="rows in one call of the policy (%(default)s)"
    )
    parser.add_argument(
        "--max-wait",
        type=float,
        default=Batching.wait_s,
        metavar="S",
        help="a call waits until nobody has come for so long, or for two fifths of a call (%(default)s)",
    )
    parser.add_argument(
        "--jpeg", action="store_true", help="let clients send pictures as JPEG (needs Pillow), for slow links"
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    stopping = stop_event()
    keep_memory()  # every request of three cameras takes the same half megabyte
    try:
        policy = load_policy(options.policy)
        server = PolicyServer(
            policy,
            options.endpoint,
            keep_s=options.keep,
            keep_bytes=options.keep_mb << 20,
            allow_remote=options.allow_remote,
            keys=None if options.keys is None else read_keys(options.keys, ServerKeys),
            batching=Batching(wait_s=options.max_wait, rows=options.max_batch),
            jpeg=options.jpeg,
        )
    except RobotRLError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2

    def ready() -> None:
        print(f"serving {policy.spec.policy_id} (spec {policy.spec.hash[:12]}) on {server.endpoint}", flush=True)

    try:
        server.run(stopping, ready)
    except RobotRLError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    finally:
        server.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
