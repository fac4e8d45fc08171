from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterodm_py.config import Config, ConfigError, load
from clusterodm_py.core.types import Address, Node, Token

HERE = Path("/nowhere")


def read(key: str, value: str) -> Any:
    """The value of `key` when a flag says `value`."""
    return getattr(load([f"--{key}={value}"], {}, HERE).config, key.replace("-", "_"))


def fix(key: str, value: str) -> str:
    """What the operator is told when a flag says `value`."""
    with pytest.raises(ConfigError) as error:
        load([f"--{key}={value}"], {}, HERE)
    (problem,) = error.value.problems
    assert problem.key == key
    return problem.fix


def in_file(folder: Path, **values: object) -> Config:
    keys = {name.replace("_", "-"): value for name, value in values.items()}
    (folder / "config.json").write_text(json.dumps(keys))
    return load(["--config", "config.json"], {}, folder).config


@pytest.mark.parametrize(
    ("text", "number"), [("1e6", 1_000_000), ("12.0", 12), (" 7 ", 7), ("0", 0), ("+5", 5), ("1E3", 1000)]
)
def test_a_whole_number_is_the_number_that_was_written(text: str, number: int) -> None:
    assert read("flood-limit", text) == number


@pytest.mark.parametrize(
    "text",
    ["", "12abc", "1.5", "1e-3", "-1", "NaN", "inf", "1e99", "1e999999999", "9" * 5000, "0x10", "1_000", "٣"],
)
def test_nonsense_for_a_whole_number_is_refused(text: str) -> None:
    assert fix("flood-limit", text) == "give a whole number from 0 to 1000000000"


@given(
    st.text(max_size=12)
    | st.from_regex(r"[+-]?[0-9]{1,4}([.][0-9]{0,3})?(e[+-]?[0-9]{1,3})?", fullmatch=True)
)
def test_any_text_for_a_number_is_that_number_or_refused(text: str) -> None:
    try:
        port = read("port", text)
    except ConfigError:
        return
    try:
        assert port == Decimal(text.strip())
    except InvalidOperation:
        pytest.fail(f"{text!r} is no number, but was read as {port}")
    assert 0 <= port <= 65535


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5), st.lists, max_leaves=4
    )
)
def test_no_value_of_any_type_breaks_the_reading_of_any_key(value: object) -> None:
    for field in Config.model_fields:
        try:
            Config.model_validate({field: value})
        except ValueError:  # pydantic's own among them: the value was refused
            continue


@pytest.mark.parametrize("key", ["secure-port", "admin-cli-port", "admin-web-port"])
def test_a_port_of_0_switches_it_off(key: str) -> None:
    assert read(key, "0") is None


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1500", 1500),
        ("1e6", 10**6),
        ("500G", 500 << 30),
        ("1.5 GiB", 3 << 29),
        ("2tb", 2 << 40),
        ("3KB", 3072),
    ],
)
def test_a_size_takes_units(text: str, size: int) -> None:
    assert read("spool-quota", text) == size


@pytest.mark.parametrize("text", ["", "G", "5X", "-1", "1.2.3G", "5GG", "5\u212a", "1 0", "9e18T"])
def test_nonsense_for_a_size_is_refused(text: str) -> None:
    assert "size" in fix("spool-quota", text)


@pytest.mark.parametrize(
    ("text", "value"), [("false", False), ("No", False), ("0", False), ("TRUE", True), ("on", True)]
)
def test_a_switch_means_what_it_says(text: str, value: bool) -> None:
    assert read("splitmerge", text) is value
    assert read("fsync", text) is value


def test_nonsense_for_a_switch_is_refused() -> None:
    assert fix("splitmerge", "maybe") == "give true or false"


def test_a_switch_is_no_number(tmp_path: Path) -> None:
    for key in ("flood_limit", "spool_quota", "poll_interval"):
        with pytest.raises(ConfigError, match="give a"):
            in_file(tmp_path, **{key: True})


def test_a_file_may_say_false_as_json_or_as_text(tmp_path: Path) -> None:
    assert in_file(tmp_path, splitmerge=False).splitmerge is False
    assert in_file(tmp_path, splitmerge="false").splitmerge is False


def test_fractions_of_hours_and_days_are_fine_but_no_nonsense() -> None:
    assert read("stale-uploads-timeout", "0.5") == 0.5
    assert read("retention-days", "1.5") == 1.5
    assert fix("poll-interval", "0") == "give a number from 0.1 to 3600"
    assert fix("poll-interval", "nan") == "give a number from 0.1 to 3600"


def test_an_https_port_may_be_any_number_json_can_write(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"port": 4e3, "token": 12345}')
    config = load(["--config", "config.json"], {}, tmp_path).config
    assert (config.port, config.token) == (4000, Token("12345"))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("", ""),
        ("http://10.0.0.1:3000", "http://10.0.0.1:3000/"),
        ("https://odm.example.org/some/path/", "https://odm.example.org/"),
        ("http://[::1]:3000", "http://[::1]:3000/"),
    ],
)
def test_only_the_root_of_the_public_address_is_kept(text: str, address: str) -> None:
    assert read("public-address", text) == address


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.1:3000",
        "ftp://host",
        "http://",
        "http://u:p@host",
        "http://h?x=1",
        "http://h:0",
        "http://h:99999",
    ],
)
def test_what_is_no_web_address_is_refused_as_public_address(text: str) -> None:
    assert "http://cluster.example.org:3000" in fix("public-address", text)


@pytest.mark.parametrize(
    ("text", "provider"),
    [
        ("local", "local"),
        ("LightningDev", "lightningDev"),
        ("https://auth.example.org/r/", "https://auth.example.org/r"),
    ],
)
def test_a_provider_is_a_name_or_an_address(text: str, provider: str) -> None:
    assert read("cloud-provider", text) == provider


def test_an_unknown_provider_is_refused() -> None:
    assert fix("cloud-provider", "lightening").startswith("give local, lightning, lightningDev")


def test_an_unknown_log_level_is_refused_with_the_known_ones() -> None:
    assert fix("log-level", "loud") == "give one of error, warn, info, verbose, debug, silly"


@pytest.mark.parametrize(
    ("flags", "threshold"),
    [("error", 40), ("warn", 30), ("INFO", 20), ("verbose", 10), ("debug", 10), ("silly", 10)],
)
def test_log_levels_are_those_of_python(flags: str, threshold: int) -> None:
    assert load(["--log-level", flags], {}, HERE).config.threshold == threshold


def test_debug_is_log_level_debug() -> None:
    assert load(["--debug", "--log-level", "error"], {}, HERE).config.threshold == 10


def test_nodes_come_as_repeated_flags_as_a_list_or_as_one_text(tmp_path: Path) -> None:
    nodes = (Node(address=Address("a", 3000), token=Token("x,y")), Node(address=Address("b", 3001)))
    assert load(["--node", "a?token=x,y", "--node", "b:3001"], {}, HERE).config.node == nodes
    assert load([], {"CLUSTERODM_NODE": "a?token=x,y,b:3001"}, HERE).config.node == nodes
    assert load([], {"CLUSTERODM_NODE": "a?token=x,y\n b:3001\n"}, HERE).config.node == nodes
    assert in_file(tmp_path, node=["a?token=x,y", "b:3001"]).node == nodes


def test_a_bad_node_is_told_by_its_place_in_the_list() -> None:
    with pytest.raises(ConfigError) as error:
        load(["--node", "a:1", "--node", "b:99999?token=hidden", "--node", "c:1"], {}, HERE)
    assert [problem.key for problem in error.value.problems] == ["node #2"]


def test_origins_are_told_apart_as_browsers_write_them() -> None:
    origins = load(
        ["--cors-origins", "https://A.example.org/"], {"CLUSTERODM_CORS_ORIGINS": "*"}, HERE
    ).config.cors_origins
    assert origins == ("https://a.example.org",)
    assert load([], {"CLUSTERODM_CORS_ORIGINS": "http://a:1, *"}, HERE).config.cors_origins == (
        "http://a:1",
        "*",
    )
    with pytest.raises(ConfigError, match="without a path"):
        load(["--cors-origins", "https://a.example.org/app"], {}, HERE)


def test_features_to_come_are_refused_rather_than_ignored() -> None:
    assert "no autoscaler yet" in fix("asr", "asr.json")
    assert "S3 yet" in fix("downloads-from-s3", "https://bucket")


def test_the_model_is_frozen_and_takes_no_other_key() -> None:
    with pytest.raises(ValueError, match="frozen"):
        setattr(load([], {}, HERE).config, "port", 1)  # noqa: B010 - mypy knows it is frozen
    with pytest.raises(ValueError, match="Extra"):
        Config.model_validate({"prot": 1})
