from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from robot_rl.errors import ConfigError
from robot_rl.methods import LARGEST, METHODS, SHARED, method_of
from robot_rl.task_files import load_task, method_config, parse_task, task_names, task_path

TASK: dict[str, Any] = {
    "name": "push",
    "title": "Push a cube",
    "twin": "somewhere:Twin",
    "demonstrator": "somewhere:demonstrate",
    "scene": {"anything": {"at": "all"}},
    "max_steps": 50,
    "home": [0.4, 0.0, 0.5],
    "limits": {
        "workspace_low": [0.3, -0.3, 0.3],
        "workspace_high": [0.8, 0.3, 0.7],
        "step_m": 0.02,
        "seam_m": 0.03,
        "tolerance": 2.0,
    },
    "policy": {"checkpoint": "push.safetensors"},
    "methods": {"usr": {"utd": 3.0}, "dsrl-na": {}},
    "protocol": {"episodes": 100, "seeds": [0, 1], "tuning_seeds": [100], "trials": 100},
}


def changed(**changes: Any) -> str:
    """The task's YAML with `section__key` set, or left out when the value is None."""
    task = yaml.safe_load(yaml.safe_dump(TASK))
    for place, value in changes.items():
        *sections, key = place.split("__")
        section = task
        for name in sections:
            section = section.setdefault(name, {})
        section[key] = value
        if value is None:
            del section[key]
    return yaml.safe_dump(task)


def complaint(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_task(text, "push.yaml")
    return str(caught.value)


@pytest.mark.parametrize("name", task_names())
def test_every_shipped_task_is_sound(name: str) -> None:
    task = load_task(name)
    assert task.name == name
    low, high = task.limits.workspace_low, task.limits.workspace_high
    assert all(a < h < b for a, h, b in zip(low, task.home, high, strict=True))
    assert not set(task.protocol.seeds) & set(task.protocol.tuning_seeds)
    assert task.methods


def test_lid_opening_ships() -> None:
    assert "lid_opening" in task_names()


def test_a_path_works_as_well_as_a_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(changed())
    assert load_task(path) == load_task(str(path)) == parse_task(changed(), "push.yaml")


def test_defaults_fill_what_is_left_out() -> None:
    task = parse_task(changed(), "push.yaml")
    assert task.guard.operator_ms == 500.0
    assert task.method("usr").utd == 3.0
    assert task.method("dsrl-na").utd == 5.0
    assert task.scene == {"anything": {"at": "all"}}


def test_a_task_cannot_be_written_to() -> None:
    task = parse_task(changed(), "push.yaml")
    with pytest.raises(ValidationError, match="frozen"):
        task.max_steps = 3


def test_hash_is_of_the_contents() -> None:
    task = parse_task(changed(), "push.yaml")
    assert task.hash == parse_task("# a comment\n" + changed(), "other.yaml").hash
    assert task.hash != parse_task(changed(max_steps=51), "push.yaml").hash


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"max_step": 3}, "max_step: unknown key; did you mean 'max_steps'?"),
        ({"limits__tolerence": 3}, "limits.tolerence: unknown key; did you mean 'tolerance'?"),
        ({"guard__operatorms": 3}, "guard.operatorms: unknown key; did you mean 'operator_ms'?"),
        ({"methods__usr__noise_bond": 3}, "methods.usr.noise_bond: unknown key; did you mean 'noise_bound'?"),
    ],
)
def test_an_unknown_key_names_its_place_and_the_nearest(changes: dict[str, Any], words: str) -> None:
    assert words in complaint(changed(**changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"limits__step_m": 0}, ["push.yaml", "limits.step_m", "greater than 0", "(got 0)"]),
        ({"limits__tolerance": 0.5}, ["limits.tolerance", "greater than or equal to 1", "(got 0.5)"]),
        ({"limits__seam_m": 0}, ["limits.seam_m", "greater than 0", "(got 0)"]),
        ({"guard__operator_ms": 0}, ["guard.operator_ms", "greater than 0"]),
        ({"guard__observation_ms": 0}, ["guard.observation_ms", "greater than 0"]),
        ({"guard__command_ms": 0}, ["guard.command_ms", "greater than 0"]),
        ({"protocol__seeds": [0, 1, 1]}, ["protocol.seeds", "each seed once, [1] come again"]),
        ({"protocol__tuning_seeds": [100, 0]}, ["protocol: ", "seeds and tuning_seeds share [0]"]),
        ({"protocol__seeds": [-1]}, ["protocol.seeds.0", "greater than or equal to 0", "(got -1)"]),
        ({"protocol__tuning_seeds": [2**32]}, ["protocol.tuning_seeds.0", "less than or equal to 4294967295"]),
        ({"home": [0.4, 0.0]}, ["home.2", "Field required"]),
        ({"max_steps": "many"}, ["max_steps", "valid integer", "(got 'many')"]),
        ({"policy__checkpoint": None}, ["policy.checkpoint", "Field required"]),
        ({"methods__usr__bootstrap": "magic"}, ["methods.usr.bootstrap", "'decode' or 'distilled'"]),
        ({"methods__usr__hidden": 25600000}, ["methods.usr.hidden: expected at most 4096, got 25600000"]),
        ({"methods__usr__td_steps": 10**12}, ["methods.usr.td_steps: expected at most 1000, got 1000000000000"]),
        ({"methods__usr__utd": {"a": 1}}, ["methods.usr.utd", "valid number", "(got a mapping)"]),
        ({"home": [0.4, False, 0.5]}, ["push.yaml: Value error, home: expected a number, got false"]),
        ({"limits__workspace_low": [True, -0.3, 0.3]}, ["limits: ", "workspace_low: expected a number, got true"]),
        ({"methods__usr__residual_scale": [0.01, True]}, ["residual_scale: expected a number, got true"]),
        ({"protocol__seeds": [0, True]}, ["protocol: ", "seeds: expected a number, got true"]),
        ({"protocol__seeds": {0, True}}, ["protocol: ", "seeds: expected a number, got "]),
        ({"title": 3.0 * 10**300}, ["title", "valid string"]),
    ],
)
def test_a_wrong_value_says_where_what_was_expected_and_what_came(changes: dict[str, Any], words: list[str]) -> None:
    text = complaint(changed(**changes))
    assert [word for word in words if word not in text] == []


def test_a_fault_of_a_whole_section_does_not_print_the_section() -> None:
    text = complaint(changed(home=[9.0, 0.0, 0.5]))
    assert text == (
        "push.yaml: Value error, home (9.0, 0.0, 0.5) m lies outside the workspace (0.3, -0.3, 0.3) to "
        "(0.8, 0.3, 0.7) m"
    )


def test_what_came_is_said_in_short() -> None:
    text = complaint(changed(title=[1] * 500))
    assert "(got [1, 1, 1, " in text
    assert text.endswith("...)")
    assert len(text) < 400
    with pytest.raises(ConfigError, match=r"layer_norm: .* \(got a number of thousands of digits\)"):
        method_config("usr", layer_norm=10**5000)


def test_all_faults_are_named_at_once() -> None:
    text = complaint(changed(max_steps="many", title=None))
    assert "max_steps" in text
    assert "title" in text


@pytest.mark.parametrize("text", ["a: [1", "- 1", ""])
def test_what_is_no_task_file_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^task\.yaml: "):
        parse_task(text, "task.yaml")


@pytest.mark.parametrize("name", ["", "..", "../etc", "two\nlines", "x" * 65, "[/red]"])
def test_a_task_has_a_name_that_a_folder_can_have(name: str) -> None:
    with pytest.raises(ConfigError, match="name: "):
        parse_task(changed(name=name), "task.yaml")


@pytest.mark.parametrize(
    ("setting", "value"),
    [("ode_steps", 0), ("latent", 0), ("embedding", -3), ("learning_rate", -1.0), ("kl_weight", -1.0), ("seed", -1)],
)
def test_a_frozen_policy_is_not_made_of_nonsense(setting: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"policy.{setting}"):
        parse_task(changed(**{f"policy__{setting}": value}), "task.yaml")


def test_an_unknown_task_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no task 'lid_opning'; did you mean 'lid_opening'\?.*path of a \.yaml"):
        task_path("lid_opning")


def test_a_path_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    for name in ("nowhere.yaml", "a" * 300 + ".yaml", "a\0.yaml"):
        with pytest.raises(ConfigError, match=r"no task .*\.yaml"):
            load_task(tmp_path / name)


def test_an_unknown_method_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"task 'push' has no method 'ursr'; did you mean 'usr'\?"):
        parse_task(changed(), "push.yaml").method("ursr")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"methods__usr__trust_region": 0.35}, "methods.usr.trust_region: usr does not read this setting"),
        ({"methods__dsrl-na__residual_horizon": 5}, "methods.dsrl-na.residual_horizon: dsrl-na does not read"),
        ({"methods__zprl": {"noise_layout": "full"}}, "methods.zprl.noise_layout: zprl does not read"),
        ({"methods__rlpd": {"residual_scale": [0.1]}}, "methods.rlpd.residual_scale: rlpd does not read"),
        (
            {"methods__lp-ds__exploration_correlation": 0.9},
            "exploration_correlation: lp-ds does not read this",
        ),
        ({"methods__ursr": {}}, "methods.ursr: no such method; did you mean 'usr'?"),
        ({"methods__usr__noise_layout": "none"}, "usr steers the noise: expected full, repeat or low_rank"),
        ({"methods__usr__noise_rank": 4}, "noise_rank: is read with noise_layout: low_rank only"),
        ({"methods__policy-decorator": {}}, "policy-decorator needs one: expected constant or per_step"),
        ({"methods__usr__noise_seed": 4}, "noise_seed: is read with noise_layout: low_rank only"),
        ({"methods__usr": {"residual_scale": [0.1] * 4}}, "residual_scale: is read with a residual_layout only"),
        ({"methods__usr": {"residual_horizon": 50}}, "residual_horizon: is read with a residual_layout only"),
        ({"methods__lp-ds": {"critic": "td", "bootstrap": "decode"}}, "bootstrap: critic: td distils nothing"),
        ({"methods__usr__entropy_in_target": True}, "set clip_targets: false with it"),
    ],
)
def test_a_setting_that_a_method_does_not_read_is_an_error_that_says_so(changes: dict[str, Any], words: str) -> None:
    assert words in complaint(changed(**changes))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"prior_share": 0.5, "batch": 1}, "0.5 of a batch of 1 is 0 chunks"),
        ({"prior_share": 0.999, "batch": 64}, "0.999 of a batch of 64 is 64 chunks"),
        ({"critics": True}, "critics: expected a number, got true"),
        ({"utd": True}, "utd: expected a number, got true"),
        ({"residual_layout": "constant", "residual_scale": 0.1}, "expected a number for each entry of the action"),
        ({"residual_layout": "constant", "residual_scale": "half"}, "or full; got half"),
        ({"residual_layout": "constant", "residual_scale": [0.1] * 4, "residual_std": 0.005}, "greater than 0.0068"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_words(settings: dict[str, Any], words: str) -> None:
    assert words in complaint(changed(methods__usr=settings))
    with pytest.raises(ConfigError, match=re.escape(words)):
        method_config("usr", **settings)


def test_a_run_goes_on_with_what_none_is_begun_with() -> None:
    """Its own copy of the task file is never written again: a refusal would be the end of it."""
    text = changed(methods__usr={"noise_seed": 3, "entropy_in_target": True, "prior_share": 0.999, "batch": 64})
    assert parse_task(text, "task.yaml", begun=True).method("usr").noise_seed == 3
    assert len(complaint(text).split(";")) >= 3


@pytest.mark.parametrize("setting", LARGEST)
def test_a_run_goes_on_with_more_than_one_is_begun_with(setting: str) -> None:
    method = next(name for name, entry in METHODS.items() if setting in SHARED | entry.reads)
    text = changed(methods={method: {setting: LARGEST[setting] + 1}})
    assert getattr(parse_task(text, "task.yaml", begun=True).method(method), setting) == LARGEST[setting] + 1
    assert f"methods.{method}.{setting}: expected at most" in complaint(text)
    at_most = changed(methods={method: {setting: LARGEST[setting]}})
    assert getattr(parse_task(at_most, "task.yaml").method(method), setting) == LARGEST[setting]


def test_a_run_goes_on_with_numbers_as_they_were_read_when_it_began() -> None:
    text = changed().replace("max_steps: 50", "max_steps: 062")
    assert parse_task(text, "task.yaml", begun=True).max_steps == 50
    assert "062 is another number" in complaint(text)


def test_entropy_may_be_in_a_target_that_is_not_clipped() -> None:
    assert method_config("usr", entropy_in_target=True, clip_targets=False).entropy_in_target


def test_a_setting_without_effect_is_named_beside_other_faults() -> None:
    text = complaint(changed(methods__usr__trust_region=0.35, max_steps="many"))
    assert "trust_region" in text
    assert "max_steps" in text


def test_a_method_has_its_own_defaults_and_a_task_file_overrules_them() -> None:
    task = parse_task(changed(**{"methods__zprl": {"gamma": 0.9}, "methods__lp-ds": {}}), "push.yaml")
    zprl = task.method("zprl")
    assert (zprl.noise_layout, zprl.critics, zprl.gamma) == ("none", 5, 0.9)
    assert task.method("lp-ds").noise_bound == 2.5
    assert zprl == method_config("zprl", gamma=0.9)


def test_settings_made_in_code_are_checked_as_those_of_a_file() -> None:
    with pytest.raises(ConfigError, match="does not read"):
        method_config("dsrl-sac", pool=3)
    with pytest.raises(ConfigError, match="utd"):
        method_config("dsrl-sac", utd=-1)
    with pytest.raises(ConfigError, match="did you mean 'dsrl-sac'"):
        method_config("dsrl-sax")


@pytest.mark.parametrize("name", ["lid_opening", "lid_opening_strict"])
def test_the_lid_tasks_have_settings_for_every_method(name: str) -> None:
    assert {method_of(entry) for entry in load_task(name).methods} == set(METHODS)


def test_a_variant_of_a_method_has_settings_of_its_own_over_the_methods_defaults() -> None:
    methods = {"lp-ds": {"distill_steps": 1}, "lp-ds:wide": {"trust_region": 4.0}}
    task = parse_task(yaml.safe_dump(TASK | {"methods": methods}), "mine")
    assert task.method("lp-ds:wide") == method_config("lp-ds", trust_region=4.0)
    assert task.method("lp-ds:wide").distill_steps == METHODS["lp-ds"].defaults["distill_steps"]


@pytest.mark.parametrize("name", ["lpds:wide", "lp-ds:"])
def test_a_variant_of_no_method_is_an_error_that_says_what_a_variant_is(name: str) -> None:
    text = yaml.safe_dump(TASK | {"methods": {name: {}}})
    with pytest.raises(ConfigError, match=r"no such method.*METHOD:VARIANT"):
        parse_task(text, "mine")


def test_a_variant_reads_what_its_method_reads() -> None:
    text = yaml.safe_dump(TASK | {"methods": {"dsrl-sac:wide": {"pool": 3}}})
    with pytest.raises(ConfigError, match=r"methods.dsrl-sac:wide.pool: dsrl-sac does not read"):
        parse_task(text, "mine")
