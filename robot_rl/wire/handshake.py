"""What a policy's server and its client agree on before anything else, and again with every request.

Requests carry the protocol's version and the hash of the spec they were made for: a server that was upgraded or now
serves another model refuses, instead of answering something else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from robot_rl import __version__
from robot_rl.errors import SpecMismatch
from robot_rl.types import PolicySpec
from robot_rl.wire.schemas import from_plain, to_plain
from robot_rl.wire.values import Header

PROTOCOL = 4
"""Raised with every change of the wire that an older peer would misread."""


HANDLE_BYTES = 16
"""Of the name of a context that the server keeps."""


def greeting() -> Header:
    """What a client begins with."""
    return {"protocol": PROTOCOL, "version": __version__}


def stamp(spec_hash: str) -> Header:
    """What every request and every answer carries."""
    return greeting() | {"spec_hash": spec_hash}


def check_stamp(header: Mapping[str, Any], spec_hash: str) -> None:
    """Raises `SpecMismatch` with both sides unless `header` was made for this protocol and this spec."""
    check_protocol(header)
    if header.get("spec_hash") != spec_hash:
        other = str(header.get("spec_hash"))[:12]
        raise SpecMismatch(f"expected the policy of spec {spec_hash[:12]}, the other side has {other}; connect anew")


def check_protocol(header: Mapping[str, Any]) -> None:
    """Raises `SpecMismatch` with both versions unless `header` speaks ours."""
    if header.get("protocol") != PROTOCOL:
        theirs = f"{str(header.get('protocol'))[:12]} (robot_rl {str(header.get('version'))[:12]})"
        raise SpecMismatch(
            f"expected policy protocol {PROTOCOL} (robot_rl {__version__}), got {theirs}; "
            "install the same robot_rl on both sides"
        )


def spec_to_plain(spec: PolicySpec, spec_hash: str) -> Header:
    """The server's side of the handshake."""
    return stamp(spec_hash) | {"spec": to_plain(spec, [])}


def spec_from_plain(header: Mapping[str, Any]) -> PolicySpec:
    """The client's side. Raises `SpecMismatch` if the hash is not the spec's, or the protocol not ours."""
    check_protocol(header)
    plain: Any = header.get("spec")
    spec = from_plain(PolicySpec, plain, [])
    check_stamp(header, spec.hash)
    return spec
