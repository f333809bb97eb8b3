"""`python -m robot_rl.serve POLICY`: a frozen policy in a process of its own."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from robot_rl.errors import ConfigError, RobotRLError
from robot_rl.processes import stop_event
from robot_rl.protocols import FrozenPolicy
from robot_rl.serve.server import PolicyServer


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m robot_rl.serve", description="Serve a frozen policy.")
    parser.add_argument("policy", help="a checkpoint (.safetensors with its .json), or module:factory of your own")
    parser.add_argument("--endpoint", default="tcp://127.0.0.1:5601", help="where to listen (%(default)s)")
    parser.add_argument("--keep", type=float, default=30.0, metavar="S", help="seconds a context is kept (%(default)s)")
    parser.add_argument(
        "--allow-remote", action="store_true", help="let other machines connect; nobody is authenticated"
    )
    options = parser.parse_args(arguments)
    stopping = stop_event()
    try:
        policy = load(options.policy)
        server = PolicyServer(policy, options.endpoint, keep_s=options.keep, allow_remote=options.allow_remote)
    except RobotRLError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    print(f"serving {policy.spec.policy_id} (spec {policy.spec.hash[:12]}) on {server.endpoint}", flush=True)
    try:
        server.run(stopping)
    finally:
        server.close()
    return 0


def load(name: str) -> FrozenPolicy:
    """The policy of a checkpoint's path, or what `module:factory` returns. Raises `ConfigError`, `IntegrityError`."""
    module, _, factory = name.partition(":")
    if factory:
        try:
            policy = getattr(importlib.import_module(module), factory)()
        except (ImportError, AttributeError) as error:
            raise ConfigError(f"expected module:factory, got {name!r}: {error}") from error
        if not isinstance(policy, FrozenPolicy):
            raise ConfigError(
                f"{name} returned {type(policy).__name__}, which is no FrozenPolicy (spec, encode, decode)"
            )
        return policy
    if not Path(name).is_file():
        raise ConfigError(f"no checkpoint {name!r}: expected the path of a .safetensors file, or module:factory")
    from robot_rl.policy.flow import FlowPolicy  # needs safetensors, which a policy of another kind does not

    return FlowPolicy.load(Path(name))


if __name__ == "__main__":
    sys.exit(main())
