"""The entry point of `robot-rl`: Ctrl-C, SIGTERM and SIGHUP are dealt with before anything slow is imported."""

from __future__ import annotations

import signal
import sys
from types import FrameType

INTERRUPTED = 130
"""Exit status, as a shell has it for a command that SIGINT ended."""


def main() -> None:
    """Run the command line; an interrupt ends it in one line, wherever it comes, and in order where a verb runs."""
    interrupted = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True
        raise KeyboardInterrupt

    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(name) is not signal.SIG_IGN:  # nohup, and a shell's `&`, mean it
            signal.signal(name, interrupt)
    try:
        from robot_rl.cli.verbs import run_app

        run_app()
    except SystemExit:
        raise
    except BaseException:  # while a module is imported, an interrupt may come out as any error
        if not interrupted:
            raise
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
