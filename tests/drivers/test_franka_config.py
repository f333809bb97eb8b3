"""Settings of a Franka arm, and the file that a lab begins with."""

from __future__ import annotations

from pathlib import Path

import pytest

from robot_rl.drivers.franka_config import FrankaConfig, load_franka
from robot_rl.errors import ConfigError

SHIPPED = Path(__file__).parents[2] / "hw_configs" / "franka.yaml"


def test_the_shipped_file_says_every_setting_at_its_default() -> None:
    assert load_franka(SHIPPED) == FrankaConfig(address="172.16.0.2")
    said = SHIPPED.read_text(encoding="utf-8")
    assert all(f"{name}:" in said for name in FrankaConfig.model_fields)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("adress: 10.0.0.1", "adress: unknown key; did you mean 'address'"),
        (
            "{address: a, impedance: {translations: 5}}",
            "impedance.translations: unknown key; did you mean 'translation",
        ),
        ("{address: a, realtime_config: maybe}", "realtime_config: .*'enforce' or 'ignore'"),
        ("{address: a, orientation: [1, 1, 0, 0]}", "expected a unit quaternion xyzw, got one of length 1.4142"),
        ("{address: a, home: [0, 0]}", "home"),
        ("{address: a, home: [0, -20, 0, -135, 0, 203, 45]}", "home: .*joint 2: expected -1.9 to 1.9 rad, got -20"),
        (
            "{address: a, collision: {contact_torque: 41}}",
            "collision: .*contact_torque: expected at most collision_torque, 40, got 41[.]",
        ),
        ("{address: a, collision: {collision_torque: 15}}", "collision_torque, 15, got 20, its default: give it too"),
        ("{address: a, step_m: 12}", "step_m: .*less than or equal to 0.1"),
        ("{address: a, collision: {contact_force: 10, collision_force: 9}}", "contact_force: expected at most"),
        ("{address: a, address: b}", "the key 'address' comes twice"),
        ("address: !!timestamp here", "not YAML"),
        ("- 10.0.0.1", "expected a mapping at the top, got list"),
    ],
)
def test_what_cannot_be_meant_is_named(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "cell.yaml").write_text(line)
    with pytest.raises(ConfigError, match=message):
        load_franka(tmp_path / "cell.yaml")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read"):
        load_franka(tmp_path / "none.yaml")
