from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterodm_py.config import ConfigError, load
from clusterodm_py.config.flags import build_parser
from clusterodm_py.config.settings import SETTINGS
from clusterodm_py.core.types import Token

HERE = Path("/nowhere")

# -- flags ------------------------------------------------------------------------------------------------------------

CLUSTERODM_FLAGS = [
    *("--port 3000", "-p 3000", "--secure-port 0", "--admin-cli-port 8080", "--admin-web-port 10000"),
    *(
        "--admin-pass pass",
        "--log-level info",
        "--cloud-provider local",
        "-c lightning",
        "--upload-max-speed 0",
    ),
    *("--downloads-from-s3=", "--splitmerge", "--no-splitmerge", "--public-address http://10.0.0.1:3000"),
    *(
        "--flood-limit 0",
        "--stale-uploads-timeout 0",
        "--token secret",
        "--debug",
        "--ssl-key=",
        "--ssl-cert=",
    ),
    *("--asr=", "--config config.json", "--cluster-address="),
]


@pytest.mark.parametrize("line", CLUSTERODM_FLAGS)
def test_every_flag_of_clusterodm_is_taken(line: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    load(line.split(), {}, tmp_path)


def test_short_flags_mean_the_long_ones() -> None:
    config = load(["-p4000", "-c", "lightning"], {}, HERE).config
    assert (config.port, config.cloud_provider) == (4000, "lightning")


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("--splitmerge", True),
        ("--splitmerge=false", False),
        ("--splitmerge false", False),
        ("--no-splitmerge", False),
        ("--no-splitmerge --splitmerge", True),
    ],
)
def test_a_switch_stands_alone_with_a_value_or_negated(line: str, value: bool) -> None:
    assert load(line.split(), {}, HERE).config.splitmerge is value


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--prot", "4000"], "did you mean --port?"),
        (["--admin-pas=s3cret"], "did you mean --admin-pass?"),
        (["--tokn", "s3cret"], "did you mean --token?"),
        (["--zzz"], "clusterodm --help"),
        (["--por", "1"], "did you mean --port?"),
        (["--token=", "s3cret"], "belongs to no flag"),
        (["--port"], "expected one argument"),
        (["--admin-pass", "-s3cret"], "--key=value"),
    ],
)
def test_a_flag_that_is_none_is_refused_without_repeating_what_may_be_secret(
    flags: list[str], says: str
) -> None:
    with pytest.raises(ConfigError) as error:
        load(flags, {}, HERE)
    assert says in str(error.value)
    assert "s3cret" not in str(error.value)
    assert len(error.value.problems) == 1


@given(st.lists(st.text(max_size=8) | st.sampled_from([setting.flag for setting in SETTINGS]), max_size=4))
def test_any_command_line_is_a_configuration_or_a_config_error(words: list[str]) -> None:
    try:
        load([word for word in words if word not in ("-h", "--help")], {}, HERE)
    except ConfigError:
        return
    except SystemExit:
        assert any(word.startswith("-h") for word in words)


def test_help_tells_every_key_but_those_of_no_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    text = build_parser().format_help()
    assert [setting.flag for setting in SETTINGS if f"{setting.flag} " not in text] == []
    assert "(default: 10000)" in text
    assert "cluster-address" not in text


# -- environment ------------------------------------------------------------------------------------------------------


def test_secrets_come_from_files_without_their_last_line_end(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("se cret \n")
    (tmp_path / "pass").write_bytes(b"\xef\xbb\xbfword\r\n")
    (tmp_path / "nodes").write_text("a:1?token=x\nb:2\n")
    env = {f"CLUSTERODM_{key}_FILE": name for key, name in (("TOKEN", "token"), ("NODE", "nodes"))}
    loaded = load([], env | {"CLUSTERODM_ADMIN_PASS_FILE": str(tmp_path / "pass")}, tmp_path)
    assert loaded.config.token == Token("se cret ")
    assert loaded.config.admin_pass == Token("word")
    assert [node.id for node in loaded.config.node] == ["a:1", "b:2"]
    assert str(loaded.origins["token"]) == "environment CLUSTERODM_TOKEN_FILE"
    assert loaded.notices == ()


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "No such file"), (b"", "empty"), (b"\n", "empty"), (b"\xff", "no text in UTF-8")],
)
def test_a_secret_file_that_gives_no_secret_opens_nothing(
    content: bytes | None, says: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    with pytest.raises(ConfigError, match=says):
        load([], {"CLUSTERODM_TOKEN_FILE": "token"}, tmp_path)


def test_a_secret_given_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("x")
    with pytest.raises(ConfigError, match="CLUSTERODM_TOKEN is set too"):
        load([], {"CLUSTERODM_TOKEN_FILE": "token", "CLUSTERODM_TOKEN": "y"}, tmp_path)


def test_only_secrets_come_from_files() -> None:
    with pytest.raises(ConfigError, match=r"CLUSTERODM_PORT_FILE .*no such key"):
        load([], {"CLUSTERODM_PORT_FILE": "x"}, HERE)


def test_an_empty_variable_is_not_set() -> None:
    assert load([], {"CLUSTERODM_PORT": "", "CLUSTERODM_TOKEN_FILE": ""}, HERE).config.port == 3000


def test_a_service_named_clusterodm_in_kubernetes_sets_nothing() -> None:
    links = {
        "CLUSTERODM_PORT": "tcp://10.0.0.1:3000",
        "CLUSTERODM_SERVICE_HOST": "10.0.0.1",
        "CLUSTERODM_SERVICE_PORT": "3000",
        "CLUSTERODM_SERVICE_PORT_ADMIN_WEB": "10000",
        "CLUSTERODM_PORT_3000_TCP": "tcp://10.0.0.1:3000",
        "CLUSTERODM_PORT_3000_TCP_PROTO": "tcp",
        "CLUSTERODM_PORT_3000_TCP_ADDR": "10.0.0.1",
        "CLUSTERODM_ADMIN_SERVICE_HOST": "10.0.0.2",
        "CLUSTERODM_ADMIN_PORT": "tcp://10.0.0.2:8080",
    }
    assert load([], links, HERE) == load([], {}, HERE)


# -- file -------------------------------------------------------------------------------------------------------------


def test_the_default_file_of_clusterodm_is_read_when_no_other_is_named(tmp_path: Path) -> None:
    (tmp_path / "config-default.json").write_text('{"port": 4000}')
    (tmp_path / "other.json").write_text('\ufeff{"flood-limit": 7, "token": null}')
    assert load([], {}, tmp_path).config.port == 4000
    for named in (
        load(["--config=other.json"], {}, tmp_path),
        load([], {"CLUSTERODM_CONFIG": "other.json"}, tmp_path),
    ):
        assert (named.config.port, named.config.flood_limit) == (3000, 7)


def test_the_public_address_is_honoured_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "config-default.json").write_text('{"public-address": "http://10.0.0.1:3000"}')
    assert load([], {}, tmp_path).config.public_address == "http://10.0.0.1:3000/"


def test_the_unused_key_of_clusterodms_own_file_is_taken_with_a_notice(tmp_path: Path) -> None:
    ours = {
        "port": 3000,
        "cluster-address": "",
        "asr": "",
        "downloads-from-s3": "",
        "config": "config-default.json",
    }
    (tmp_path / "config-default.json").write_text(json.dumps(ours))
    (notice,) = load([], {}, tmp_path).notices
    assert notice.startswith("cluster-address (file ")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "one JSON object"),
        (b"[]", "one JSON object"),
        (b"{\n  'port': 1}", "line 2"),
        (b'{"port": 1, "port": 2}', "twice"),
        (b'{"flood-limit": NaN}', "NaN"),
        (b'{"flood-limit": ' + b"9" * 5000 + b"}", "one JSON object"),
        (b'{"node": ' + b"[" * 100_000, "one JSON object"),
        (b"\xff\xfe", "one JSON object"),
        (b'{"admin_pass": "s3cret"}', "did you mean admin-pass?"),
        (b'{"port": {"number": "s3cret"}}', "whole number"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_the_reason(
    content: bytes, says: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ConfigError) as error:
        load(["--config", "config.json"], {}, tmp_path)
    assert says in str(error.value)


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config = .*none\.json.*flag --config.*No such file"):
        load(["--config", "none.json"], {}, tmp_path)
