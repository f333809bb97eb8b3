from __future__ import annotations

import datetime
import ipaddress
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from robot_rl.console import certificate
from robot_rl.console.access import Access, require_access
from robot_rl.console.certificate import CRT, PEM, make_certificate, read_certificate, require_certificate
from robot_rl.console.machine import addresses, bracketed, host_names
from robot_rl.errors import ConfigError

NAMES = ("robot.lab", "192.168.1.7", "fd00::7")
HERE = ipaddress.ip_address("192.168.1.7")


def test_it_stands_for_the_names_and_its_key_is_its_owners_alone(folder: Path) -> None:
    made = make_certificate(folder, NAMES)
    assert made.names == NAMES
    assert stat.S_IMODE(made.pem.stat().st_mode) == 0o600
    assert stat.S_IMODE((folder / CRT).stat().st_mode) == 0o644
    public = x509.load_pem_x509_certificate((folder / CRT).read_bytes())
    assert public == x509.load_pem_x509_certificate((folder / PEM).read_bytes())
    assert b"PRIVATE" not in (folder / CRT).read_bytes()
    key = load_pem_private_key((folder / PEM).read_bytes(), None)
    assert public.public_key() == key.public_key()
    assert len(made.fingerprint) == 95
    days = (made.ends - public.not_valid_before_utc).days
    assert 365 < days <= 825, "browsers take none that lasts longer"
    assert require_certificate(folder, HERE) == made


def test_it_is_replaced_when_that_is_asked_for_alone(folder: Path) -> None:
    first = make_certificate(folder, NAMES)
    with pytest.raises(ConfigError, match="--replace"):
        make_certificate(folder, NAMES)
    assert read_certificate(folder) == first
    assert make_certificate(folder, NAMES, replace=True).fingerprint != first.fingerprint
    assert sorted(path.name for path in folder.iterdir()) == [CRT, PEM]


@pytest.mark.parametrize("name", ["ro\x00bot", "roböter", "k" * 64, "robot.", "*", "https://robot", ""])
def test_what_is_no_name_is_refused_and_leaves_nothing(folder: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="expected an address, or a host name"):
        make_certificate(folder, [name])
    assert not (folder / PEM).exists()


def test_without_one_or_with_a_wrong_one_no_other_machine_is_served(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="`robot-rl cert` makes one"):
        require_access(Access("192.168.1.7"))
    made = make_certificate(folder, NAMES)
    require_access(Access("192.168.1.7"))
    require_access(Access("0.0.0.0"))
    with pytest.raises(ConfigError, match=r"not for 10\.0\.0\.1; .*--replace"):
        require_access(Access("10.0.0.1"))
    made.pem.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        require_access(Access("192.168.1.7"))
    made.pem.chmod(0o600)
    secret = made.pem.read_text()
    made.pem.write_text(secret.replace("A", "B"))
    with pytest.raises(ConfigError, match="got something else") as refused:
        require_access(Access("192.168.1.7"))
    assert not set(refused.value.args[0].split()) & set(secret.split()), "not a word of what is in it"
    monkeypatch.setattr(certificate, "LASTS", datetime.timedelta(seconds=-1))
    make_certificate(folder, NAMES, replace=True)
    with pytest.raises(ConfigError, match="ended on"):
        require_access(Access("192.168.1.7"))


def test_other_machines_are_served_without_only_when_that_is_said(folder: Path) -> None:
    assert not Access().guarded
    assert Access(token=True).guarded
    assert Access("0.0.0.0").guarded
    assert Access("0.0.0.0").tls
    assert not Access("0.0.0.0", insecure=True).guarded
    assert Access("0.0.0.0", token=True, insecure=True).guarded
    require_access(Access("0.0.0.0", insecure=True))
    with pytest.raises(ConfigError, match="needs no TLS"):
        require_access(Access(insecure=True))
    with pytest.raises(ConfigError, match="expected an address"):
        require_access(Access("robot.lab"))


def test_this_machine_knows_its_names_and_addresses() -> None:
    assert host_names()[-1] == "localhost"
    assert [str(address) for address in addresses()[-2:]] == ["127.0.0.1", "::1"]
    assert [bracketed(name) for name in ("::1", "10.0.0.1", "robot")] == ["[::1]", "10.0.0.1", "robot"]
