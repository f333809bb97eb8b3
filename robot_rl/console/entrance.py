"""From what a person asked for (`Access`) to a listening socket, and the door behind it."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

from robot_rl.console.access import Access
from robot_rl.console.installation import installation
from robot_rl.console.machine import addresses, bracketed, host_names
from robot_rl.console.passes import Passes
from robot_rl.console.security import Door, listen


@dataclass(frozen=True)
class Entrance:
    """Everything that a server needs to open the page."""

    listener: socket.socket
    door: Door
    url: str
    """To be shown; no secret."""
    pem: Path | None
    """Key and certificate; None: no TLS."""


def open_entrance(access: Access, port: int) -> Entrance:
    """Listen (0: on a free port). Raises `ConfigError` where `access` asks for what is not there."""
    address, certificate = access.address, None
    if access.tls:
        from robot_rl.console.certificate import require_certificate  # `cryptography` is needed for this alone

        certificate = require_certificate(installation(), address)
    passes = Passes(installation()) if access.guarded else None
    listener = listen(address, port)
    number = listener.getsockname()[1]
    if address.is_loopback:
        names, shown = ["127.0.0.1", "localhost", "::1"], "localhost"
    else:
        here = [str(known) for known in addresses()]
        names = [*here, *host_names(), *(certificate.names if certificate else ())]
        shown = here[0] if address.is_unspecified else str(address)
    door = Door.under(names, number, tls=certificate is not None, passes=passes)
    url = f"{door.scheme}://{bracketed(shown)}:{number}/"
    return Entrance(listener, door, url, certificate.pem if certificate else None)
