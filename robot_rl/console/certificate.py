"""The page's own key and certificate, one of each installation: `robot-rl cert` makes them.

Self-signed: a browser asks once whether to trust it, and shows the fingerprint to be compared with the one printed
here. `console.pem` holds both and is readable by its owner alone, `console.crt` the certificate, to be handed out.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from robot_rl.console.installation import private
from robot_rl.console.machine import Address
from robot_rl.errors import ConfigError

PEM, CRT = "console.pem", "console.crt"
HOST_NAME = re.compile(r"(?=.{1,253}$)[\w-]{1,63}(\.[\w-]{1,63})*", re.ASCII)
LASTS = datetime.timedelta(days=820)
"""Browsers take none that lasts longer than 825 days."""
MAKE = "`robot-rl cert` makes one"
REMAKE = "`robot-rl cert --replace` makes a new one"


@dataclass(frozen=True)
class Certificate:
    """What is in a folder's files."""

    pem: Path
    names: tuple[str, ...]
    """Host names and addresses that it stands for."""
    fingerprint: str
    """SHA-256 as browsers show it: pairs of hex digits with colons."""
    ends: datetime.datetime


def make_certificate(folder: Path, names: Sequence[str], *, replace: bool = False) -> Certificate:
    """A new key (P-256) and a certificate for `names`, host names or addresses.

    Raises `ConfigError` for a name that is none, and where there is a certificate, unless it is to be replaced.
    """
    if (folder / PEM).exists() and not replace:
        raise ConfigError(f"{folder / PEM} is there already, and may be trusted by browsers; {REMAKE}")
    key = ec.generate_private_key(ec.SECP256R1())
    title = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "robot_rl operator console")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(title)
        .issuer_name(title)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))  # the other machine's clock may be behind
        .not_valid_after(now + LASTS)
        .add_extension(x509.SubjectAlternativeName([_name(name) for name in dict.fromkeys(names)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    public = certificate.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    private(folder)
    _write(folder / PEM, secret + public, 0o600)
    _write(folder / CRT, public, 0o644)
    return read_certificate(folder)


def read_certificate(folder: Path) -> Certificate:
    """Raises `ConfigError`, without a word of what the files hold, if there is none that can be served with."""
    path = folder / PEM
    try:
        mode, text = path.stat().st_mode, path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: expected the page's certificate, got {error.strerror}; {MAKE}") from None
    if mode & 0o077:
        raise ConfigError(f"{path}: others can read this secret (mode {mode & 0o777:03o}); run `chmod 600 {path}`")
    try:
        found = x509.load_pem_x509_certificate(text)
        named = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        serialization.load_pem_private_key(text, password=None)
    except (ValueError, TypeError, x509.ExtensionNotFound):
        raise ConfigError(
            f"{path}: expected a key and a certificate with names, got something else; {REMAKE}"
        ) from None
    names = [*named.get_values_for_type(x509.DNSName), *map(str, named.get_values_for_type(x509.IPAddress))]
    fingerprint = found.fingerprint(hashes.SHA256()).hex(":").upper()
    return Certificate(path, tuple(names), fingerprint, found.not_valid_after_utc)


def require_certificate(folder: Path, address: Address) -> Certificate:
    """One that is valid now and stands for `address`. Raises `ConfigError`."""
    found = read_certificate(folder)
    if found.ends <= datetime.datetime.now(datetime.timezone.utc):
        raise ConfigError(f"{found.pem}: the page's certificate ended on {found.ends:%Y-%m-%d}; {REMAKE}")
    if not address.is_unspecified and str(address) not in found.names:
        raise ConfigError(
            f"{found.pem}: the certificate stands for {', '.join(found.names)}, and not for {address}; {REMAKE}"
        )
    return found


def _name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    if not HOST_NAME.fullmatch(name):
        raise ConfigError(f"{name[:80]!r}: expected an address, or a host name (ASCII letters, digits, - and .)")
    return x509.DNSName(name.lower())


def _write(path: Path, content: bytes, mode: int) -> None:
    """The whole file or none of it, never readable for longer than `mode` lets it be."""
    new = path.with_name(f".{path.name}.new")
    try:
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror or error}") from error
