"""`metadata.yaml` beside an episode's MCAP: with it the episode's directory is a rosbag2 bag.

Derived from the recording, of no use to us, and never the truth: one that cannot be written costs nothing else. It is
of version 5, which every ROS 2 since Humble reads. Recordings of versions before 0.2 hold JSON, and are no bags.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from robot_rl.store.files import write_derived
from robot_rl.store.ros import type_of

METADATA_NAME = "metadata.yaml"
VERSION = 5


def write_bag_metadata(folder: Path, recording: str, counts: Mapping[str, int], first_ns: int, last_ns: int) -> bool:
    """Describe the file `recording` in `folder`, `counts` messages by topic; False when the disk refuses."""

    def span() -> dict[str, Any]:
        """A new one each time: YAML would say of one that is there twice that it is the same."""
        return {
            "starting_time": {"nanoseconds_since_epoch": first_ns},
            "duration": {"nanoseconds": last_ns - first_ns},
            "message_count": sum(counts.values()),
        }

    topics = [
        {
            "topic_metadata": {
                "name": topic,
                "type": type_of(topic),
                "serialization_format": "cdr",
                "offered_qos_profiles": "",
            },
            "message_count": count,
        }
        for topic, count in counts.items()
    ]
    described = {
        "version": VERSION,
        "storage_identifier": "mcap",
        "relative_file_paths": [recording],
        **span(),
        "topics_with_message_count": topics,
        "compression_format": "",
        "compression_mode": "",
        "files": [{"path": recording, **span()}],
    }
    text = yaml.safe_dump({"rosbag2_bagfile_information": described}, sort_keys=False, default_flow_style=False)
    return write_derived(folder / METADATA_NAME, text.encode())
