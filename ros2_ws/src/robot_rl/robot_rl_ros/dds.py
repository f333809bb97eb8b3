"""Fast DDS's settings for nodes that publish images: the profile of this package, which both launchers set for them.

For them alone: its segment takes 16 MiB of shared memory of each process that has it, and a container has 64.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from robot_rl.compositions.machine_checks import PROFILE, TRANSPORTS

OWN_PROFILE = Path(__file__).parent / "fast_dds.xml"


def dds_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What a process with images is to have beside `environment`, so that the profile is used.

    Nothing where a profile or transports are named already: a person's own choice stands.
    """
    if any(environment.get(name) for name in (PROFILE, TRANSPORTS)):
        return {}
    return {PROFILE: str(OWN_PROFILE)}
