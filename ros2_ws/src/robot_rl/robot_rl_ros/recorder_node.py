"""The node `recorder`: the one process that writes a run's episodes and labels. Publishes each label that is given."""

from __future__ import annotations

import shutil
import sys
from contextlib import suppress

from robot_rl.compositions.store_process import serve
from robot_rl.errors import StoreError
from robot_rl.store.labels import LabelLog
from robot_rl.store.run import RunDirectory
from robot_rl_ros.diagnostics import diagnose
from robot_rl_ros.health import recorder_health
from robot_rl_ros.node import Live, serve_node
from robot_rl_ros.own import LABELS, Own
from robot_rl_ros.timers import every

PARAMETERS = {
    "run": (str, "the run's directory"),
    "store": (str, "endpoint of the store's calls, e.g. ipc:///run/store"),
    "frames": ("", "endpoint on which the cameras publish JPEG frames that are recorded; empty: none are"),
}
LOOK_S = 0.2


def work(live: Live) -> None:
    """Until it is told to end; an episode that is open then is set aside as incomplete."""
    values, own = live.parameters, Own(live.node, LABELS)
    run = RunDirectory.open(values["run"])
    log = LabelLog(run.labels)
    seen = [log.watermark()]

    def tell() -> None:
        with suppress(StoreError):  # it is asked again
            for event in log.since(seen[0]):
                seen[0], label = event.seq, event.label
                own.say(
                    LABELS,
                    revision=event.seq,
                    event_id=label.event_id,
                    episode=label.episode,
                    value=label.value.value,
                    author=label.author,
                    supersedes=label.supersedes or "",
                )

    diagnose(live.node, lambda: recorder_health(shutil.disk_usage(run.path).free, seen[0]))
    looking = every(live.node, LOOK_S, tell)
    try:
        serve(run, values["store"], values["frames"] or None, live.stopping)
    finally:
        looking.cancel()
        log.close()


def main() -> int:
    """Its exit status."""
    return serve_node("recorder", PARAMETERS, work)


if __name__ == "__main__":
    sys.exit(main())
