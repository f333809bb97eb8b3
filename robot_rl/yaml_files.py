"""YAML files that people write, read strictly: UTF-8, a mapping at the top, and no key twice."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from robot_rl.errors import ConfigError


def read_mapping(path: Path) -> dict[str, Any]:
    """What the file at `path` says, not yet checked any further. Raises `ConfigError`."""
    return parse_mapping(read_text(path), str(path))


def read_text(path: Path) -> str:
    """Raises `ConfigError` for a file that cannot be read, or is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a name with a NUL
        raise ConfigError(f"{path}: cannot be read as UTF-8 text: {error}") from error


def parse_mapping(text: str, origin: str, *, begun: bool = False) -> dict[str, Any]:
    """The mapping that `text` is. Raises `ConfigError`, whose words begin with `origin`.

    `begun`: it is the copy of a run, whose numbers are what they were when it began (`PlainNumbers`).
    """
    try:
        raw = yaml.load(text, UniqueKeys if begun else PlainNumbers)  # noqa: S506 (SafeLoaders)
        _require_an_end(raw, [], set())
    except _NOT_YAML as error:
        raise ConfigError(f"{origin}: not YAML as it is read here: {error}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{origin}: expected a mapping at the top, got {type(raw).__name__}")
    return raw


def _require_an_end(value: Any, above: list[int], done: set[int]) -> None:
    """Raises `ValueError` for a mapping or list that contains itself; each is looked at once, however often named."""
    if id(value) in above:
        raise ValueError("a mapping or list contains itself")
    if id(value) in done or not isinstance(value, dict | list):
        return
    above.append(id(value))
    for part in value.values() if isinstance(value, dict) else value:
        _require_an_end(part, above, done)
    done.add(above.pop())


_NOT_YAML = (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError)
"""What PyYAML raises for text that is none: for a tag that its value does not fit, Python's own errors too."""


class UniqueKeys(yaml.SafeLoader):
    """YAML where a key that comes twice in one mapping is an error: the first one would be lost without a word."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._as_written: set[yaml.MappingNode] = set()

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """A mapping that merges others (`<<`) gets their keys, which its own overrule: judged is what was written."""
        if node not in self._as_written:
            self._as_written.add(node)
            self._require_each_once(node)
        super().flatten_mapping(node)

    def _require_each_once(self, node: yaml.MappingNode) -> None:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "expected a plain key", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} comes twice", key.start_mark
                )
            seen.add(key.value)


_OLD_NUMBERS = {
    "int": re.compile(r"[-+]?(0[0-7_]+|[0-9_]+(:[0-9]+)+)"),
    "float": re.compile(r"[-+]?[0-9_]+(:[0-9._]+)+"),
}
"""What YAML 1.1 reads in base 8 or 60, and a person in base 10."""


class PlainNumbers(UniqueKeys):
    """Nor are there numbers that mean another one to whoever wrote them: 064 would be 52, 1:30 would be 90."""

    def construct_plain_number(self, node: yaml.ScalarNode) -> int | float:
        """As it stands there, in base 10 unless it says otherwise (0x, 0b)."""
        text, kind = self.construct_scalar(node), node.tag.rpartition(":")[2]
        if _OLD_NUMBERS[kind].fullmatch(text):
            raise yaml.constructor.ConstructorError(
                None, None, f"{text} is another number in YAML than it seems; write it in base 10", node.start_mark
            )
        number: int | float = self.construct_yaml_int(node) if kind == "int" else self.construct_yaml_float(node)
        if kind == "int" and not -(2**63) <= number < 2**63:
            raise yaml.constructor.ConstructorError(None, None, "expected numbers of 64 bits", node.start_mark)
        return number


for _kind in _OLD_NUMBERS:
    PlainNumbers.add_constructor(f"tag:yaml.org,2002:{_kind}", PlainNumbers.construct_plain_number)
