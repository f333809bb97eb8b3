from __future__ import annotations

from pathlib import Path

import pytest

from robot_rl.errors import ConfigError
from robot_rl.yaml_files import parse_mapping, read_mapping


def test_a_mapping_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: 1\nb: {c: [x, 2.5]}  # \u00b5m\n", encoding="utf-8")
    assert read_mapping(tmp_path / "a.yaml") == {"a": 1, "b": {"c": ["x", 2.5]}}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1", "not YAML"),
        ("- 1\n- 2", "expected a mapping at the top, got list"),
        ("", "expected a mapping at the top, got NoneType"),
        ("a: !!python/object/apply:os.getcwd []", "not YAML"),  # and so runs no code
        ("a: {b: 1, b: 2}", "the key 'b' comes twice"),
        ("seed: 064", "064 is another number in YAML than it seems"),  # 52
        ("seed: 1:30", "1:30 is another number"),  # 90
        ("seed: -1:30.5", "-1:30.5 is another number"),
        ("seed: !!int '1:75'", "1:75 is another number"),
        ("a: &here {b: *here}", "contains itself"),
        ("a: &here [*here]", "contains itself"),
        ("a: &here {2020-01-01: *here}", "contains itself"),
        ("a: 0x" + "f" * 5000, "64 bits"),
    ],
)
def test_what_is_no_mapping_is_said_to_be_none(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=f"^given: .*{words}"):
        parse_mapping(text, "given")


def test_numbers_are_those_that_stand_there() -> None:
    text = "[0, -7, 0x10, 0b11, 1_000, 0.064, 1.5e-3, .5, -.inf, '064', 10.0.0.064, 2026-11-28]"
    read = parse_mapping(f"a: {text}", "given")["a"]
    assert read[:-1] == [0, -7, 16, 3, 1000, 0.064, 0.0015, 0.5, float("-inf"), "064", "10.0.0.064"]


def test_what_is_named_often_is_looked_at_once() -> None:
    """Each line names the one before ten times: 10^30 parts, if each were followed."""
    lines = [f"a{number}: &a{number} [{', '.join([f'*a{number - 1}'] * 10)}]" for number in range(1, 30)]
    assert len(parse_mapping("\n".join(["a0: &a0 [1]", *lines]), "given")) == 30


def test_a_mapping_may_overrule_what_it_merges_at_any_depth() -> None:
    text = "a: &x {b: 1}\nc: {inner: &y {<<: *x, b: 2}}\nd: {<<: *y}"
    assert parse_mapping(text, "given") == {"a": {"b": 1}, "c": {"inner": {"b": 2}}, "d": {"b": 2}}
    with pytest.raises(ConfigError, match="the key 'b' comes twice"):
        parse_mapping("a: &x {b: 1}\nc: {<<: *x, b: 2, b: 3}", "given")


@pytest.mark.parametrize(
    "text",
    ["? [a, b]\n: 1", "{a: 1}: 2", "a: 2026-99-99", "a: " + "9" * 5000, "a: !!int abc", "a: !!bool abc",
     "a: !!timestamp abc", "[" * 2000, "a: !!int ''", "a: !!int '-'", "a: !!float ''", "a: " + "1:" * 300 + "1.0"],
)  # fmt: skip
def test_text_that_is_no_yaml_is_an_error_and_no_traceback(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^given: "):
        parse_mapping(text, "given")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9\n")
    for path in (tmp_path / "none.yaml", tmp_path, tmp_path / "latin.yaml", tmp_path / "a\0.yaml"):
        with pytest.raises(ConfigError, match=f"^{path}: cannot be read as UTF-8 text: "):
            read_mapping(path)
