"""The names and addresses under which another machine reaches this one."""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import socket
import struct
from pathlib import Path
from typing import TypeAlias

Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"


SIOCGIFADDR = 0x8915
"""Linux: the IPv4 address of an interface."""
IF_INET6 = Path("/proc/net/if_inet6")
ELSEWHERE = ("198.51.100.1", 9)
"""An address of no network that this machine is in (RFC 5737)."""
LINK_LOCAL = "20"
"""Scope of an IPv6 address that a browser cannot name."""


def host_names() -> list[str]:
    """This machine's name, also as mDNS has it; no name server is asked."""
    name = socket.gethostname().lower()
    return [name, *([f"{name}.local"] if "." not in name else []), "localhost"]


def addresses() -> list[Address]:
    """Of all interfaces that are up, those that others reach first; loopback last."""
    found = [*_outward(), *_ipv4(), *_ipv6(), *map(ipaddress.ip_address, ("127.0.0.1", "::1"))]
    return sorted(dict.fromkeys(found), key=lambda address: address.is_loopback)


def bracketed(name: str) -> str:
    """A name or an address as a URL has it."""
    try:
        return f"[{name}]" if ipaddress.ip_address(name).version == 6 else name
    except ValueError:
        return name


def _outward() -> list[Address]:
    """The one from which other networks are reached; no packet is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(ELSEWHERE)
        except OSError:
            return []
        return [ipaddress.IPv4Address(probe.getsockname()[0])]


def _ipv4() -> list[Address]:
    found: list[Address] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            with contextlib.suppress(OSError):  # an interface without one
                answer = fcntl.ioctl(probe, SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
                found.append(ipaddress.IPv4Address(answer[20:24]))
    return found


def _ipv6() -> list[Address]:
    try:
        rows = [line.split() for line in IF_INET6.read_text().splitlines()]
    except OSError:
        return []
    return [ipaddress.IPv6Address(int(row[0], 16)) for row in rows if row[3] != LINK_LOCAL]
