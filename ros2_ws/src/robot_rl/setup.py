"""For `colcon build` alone: pip installs the same files from the pyproject.toml of the repository (shared-data)."""

from pathlib import Path

from setuptools import setup

PACKAGE = "robot_rl"
HERE = Path(__file__).parent
PROFILES = ["fast_dds.xml", "over_udp.xml", "this_machine.xml"]

setup(
    name=PACKAGE,
    version="0.1.0",
    packages=["robot_rl_ros"],
    package_data={"robot_rl_ros": PROFILES},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
        (f"share/{PACKAGE}/launch", ["launch/lid_opening.launch.py"]),
        (
            f"share/{PACKAGE}/config",
            ["config/robot_rl.yaml", *(f"robot_rl_ros/{name}" for name in PROFILES)],
        ),
        (f"lib/{PACKAGE}", sorted(f"executables/{path.name}" for path in (HERE / "executables").iterdir())),
    ],
    zip_safe=False,
)
