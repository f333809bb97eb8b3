"""The node `learner`: the learner's process, niced, as a node that says how it gets on."""

from __future__ import annotations

import sys
import time
from contextlib import suppress

from robot_rl.adapters.files import numbers, read_manifests
from robot_rl.errors import StoreError
from robot_rl.learn.__main__ import main as learn
from robot_rl.store.files import read_json
from robot_rl.store.run import RunDirectory
from robot_rl_ros.diagnostics import diagnose
from robot_rl_ros.health import Health, learner_health
from robot_rl_ros.node import Live, serve_node
from robot_rl_ros.own import ADAPTER, Own
from robot_rl_ros.timers import every
from robot_rl_ros.topics import Streams

PARAMETERS = {
    "run": (str, "the run's directory"),
    "ordered": (False, "one labelled episode after the other, as a run in lockstep waits for them"),
}
PERIOD_S = 1.0
STATUS = "/learner_status"


def work(live: Live) -> int:
    """Until it is told to end; its exit status."""
    run = RunDirectory.open(live.parameters["run"])
    streams, own = Streams(live.node, [STATUS]), Own(live.node, ADAPTER)
    announced = [0]

    def announce() -> None:
        if numbers(run.adapters)[-1:] == announced:
            return
        for manifest in read_manifests(run.adapters)[-1:]:
            announced[:] = [manifest["version"]]
            own.say(
                ADAPTER,
                version=manifest["version"],
                task=str(manifest.get("task", "")),
                kind=str(manifest.get("method", "")),
                spec_hash=str(manifest.get("spec_hash", "")),
                sha256=manifest["sha256"],
                through_episode=manifest["through_episode"],
                label_watermark=int(manifest.get("label_watermark", 0)),
                path=str(run.adapters / f"{manifest['version']:06d}.safetensors"),
            )

    def tell() -> None:
        with suppress(StoreError):  # before its first word there is none
            streams.say(STATUS, read_json(run.learner_json))
        announce()

    def health() -> Health:
        try:
            return learner_health(read_json(run.learner_json), time.time() - run.learner_json.stat().st_mtime)
        except (StoreError, OSError):
            return learner_health(None, 0.0)

    every(live.node, PERIOD_S, tell)
    diagnose(live.node, health)
    ordered = ["--ordered"] if live.parameters["ordered"] else []
    return learn([str(run.path), *ordered], active=live.active)


def main() -> int:
    """Its exit status."""
    return serve_node("learner", PARAMETERS, work, managed=True)


if __name__ == "__main__":
    sys.exit(main())
