"""Fast DDS's settings for the nodes of a graph, which both launchers set for them.

Nodes that publish images have a profile with room for them in shared memory (`fast_dds.xml`): its segment takes 16 MiB
of each process that has it, and a container has 64. The others have none. Fast DDS 2.14 tells by the wall clock whether
whoever reads from shared memory is alive: when that clock is set while nodes run, it may take the living for dead, and
who begins to listen after that may hear nothing of them, for good. Over UDP no clock but the monotonic one counts.

With these profiles a node sends heartbeats ten times a second while anybody has not said that it heard; Fast DDS's own
come every 3 s.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from robot_rl.compositions.machine_checks import FAST_DDS, PROFILE, TRANSPORTS

OWN_PROFILE = Path(__file__).parent / "fast_dds.xml"
THIS_MACHINE = Path(__file__).parent / "this_machine.xml"
OVER_UDP = Path(__file__).parent / "over_udp.xml"
RANGE, LOCALHOST, AS_THE_PROFILE_SAYS = "ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST", "SYSTEM_DEFAULT"
PEERS, OLD_RANGE = "ROS_STATIC_PEERS", "ROS_LOCALHOST_ONLY"
UDP = "UDPv4"


def dds_environment(environment: Mapping[str, str], *, images: bool) -> dict[str, str]:
    """What a node's process is to have beside `environment`; `images`: it publishes some.

    Nothing where a profile or transports are named already: a person's own choice stands. `UDPv4` is what nodes without
    images have anyway; where only this machine is looked at, rmw_fastrtps would not keep to it.
    """
    chosen = environment.get(TRANSPORTS)
    if environment.get(PROFILE) or environment.get("RMW_IMPLEMENTATION", FAST_DDS) != FAST_DDS:
        return {}
    if images and not chosen:
        return {PROFILE: str(OWN_PROFILE)}
    if chosen and chosen != UDP:
        return {}
    if environment.get(RANGE) == LOCALHOST and not environment.get(PEERS) and environment.get(OLD_RANGE) != "1":
        return {PROFILE: str(THIS_MACHINE), RANGE: AS_THE_PROFILE_SAYS}
    return {TRANSPORTS: UDP, PROFILE: str(OVER_UDP)}
