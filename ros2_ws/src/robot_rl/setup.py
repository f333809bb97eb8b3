"""For `colcon build` alone: pip installs the same files from the pyproject.toml of the repository (shared-data)."""

from pathlib import Path

from setuptools import setup

PACKAGE = "robot_rl"
HERE = Path(__file__).parent

setup(
    name=PACKAGE,
    version="0.1.0",
    packages=["robot_rl_ros"],
    package_data={"robot_rl_ros": ["fast_dds.xml", "this_machine.xml"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
        (f"share/{PACKAGE}/launch", ["launch/lid_opening.launch.py"]),
        (
            f"share/{PACKAGE}/config",
            ["config/robot_rl.yaml", "robot_rl_ros/fast_dds.xml", "robot_rl_ros/this_machine.xml"],
        ),
        (f"lib/{PACKAGE}", sorted(f"executables/{path.name}" for path in (HERE / "executables").iterdir())),
    ],
    zip_safe=False,
)
