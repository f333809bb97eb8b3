"""From where the operator's page may be reached, as a person asked for it: from here, or with TLS and a link."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from robot_rl.console.machine import Address
from robot_rl.errors import ConfigError

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Access:
    """Loopback needs nothing. Any other address needs a certificate (TLS) and a one-time link, unless `insecure`."""

    host: str = LOOPBACK
    """An address of this machine; 0.0.0.0 or :: for all of them."""
    token: bool = False
    """A one-time link is needed on loopback too."""
    insecure: bool = False
    """Neither TLS nor, without `token`, a link."""

    @property
    def address(self) -> Address:
        """Where to listen. Raises `ConfigError` for what is no address."""
        try:
            return ipaddress.ip_address(LOOPBACK if self.host == "localhost" else self.host)
        except ValueError:
            raise ConfigError(
                f"the page's host: expected an address of this machine (0.0.0.0: all of them), got {self.host!r}"
            ) from None

    @property
    def tls(self) -> bool:
        """Whether the page is served over HTTPS."""
        return not self.address.is_loopback and not self.insecure

    @property
    def guarded(self) -> bool:
        """Whether nothing is served to who has not come by a one-time link."""
        return self.token or self.tls

    @property
    def arguments(self) -> list[str]:
        """The words of `python -m robot_rl.console` that ask for this."""
        flags = {"--token": self.token, "--insecure": self.insecure}
        return ["--host", self.host, *(flag for flag, said in flags.items() if said)]


def require_access(access: Access) -> None:
    """Raises the `ConfigError` with which a console that is asked for `access` would end: nothing is started yet."""
    if access.tls:
        from robot_rl.console.certificate import require_certificate
        from robot_rl.console.installation import installation

        require_certificate(installation(), access.address)
    elif access.insecure and access.address.is_loopback:
        raise ConfigError(f"insecure: {access.host} is this machine alone, which needs no TLS; leave it out")
