from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from clusterodm_py.config import ConfigError, Loaded, Source, load
from clusterodm_py.config.settings import SETTINGS, Setting
from clusterodm_py.core.types import Token

ABSENT = {"asr", "downloads_from_s3"}
"""Keys that take no value in this version."""

SAMPLES: Mapping[str, tuple[str, str]] = {
    "ssl_key": ("a.pem", "b.pem"),
    "ssl_cert": ("a.pem", "b.pem"),
    "host": ("127.0.0.1", "::1"),
    "port": ("4000", "5000"),
    "secure_port": ("443", "444"),
    "admin_pass": ("first", "second"),
    "admin_host": ("::1", "127.0.0.2"),
    "admin_cli_port": ("8081", "0"),
    "admin_web_port": ("0", "10001"),
    "token": ("first", "second"),
    "tokens_file": ("a.pem", "b.pem"),
    "cloud_provider": ("lightning", "http://localhost:5000/r"),
    "public_address": ("http://a:1", "http://b:2"),
    "cors_origins": ("http://a", "http://b"),
    "node": ("a:1?token=x", "b:2"),
    "splitmerge": ("false", "true"),
    "flood_limit": ("1e2", "3"),
    "poll_interval": ("1", "2.5"),
    "dispatch_retries": ("0", "9"),
    "queue": ("node", "cluster"),
    "failover_after": ("1", "600"),
    "retry_failed_children": ("1", "2"),
    "retention_days": ("1", "2"),
    "pipeline": ("false", "true"),
    "push_connections": ("1", "20"),
    "upload_max_speed": ("10M", "1"),
    "spool_quota": ("500G", "1"),
    "token_quota": ("10G", "1"),
    "spool_free_floor": ("0", "2G"),
    "keep_uploads": ("dispatched", "done"),
    "stale_uploads_timeout": ("12", "0.5"),
    "fsync": ("true", "false"),
    "log_level": ("silly", "error"),
    "debug": ("true", "false"),
    "data_dir": ("here", "/there"),
    "spool_dir": ("here", "/there"),
}
"""Two values of each key, neither of them told by the other."""

PRESENT = [setting for setting in SETTINGS if setting.field not in ABSENT]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.pem", "b.pem"):
        (tmp_path / name).touch()
    return tmp_path


def load_from(folder: Path, values: Mapping[Source, tuple[Setting, str]]) -> Loaded:
    """The configuration where each source says one thing; the file gives what any key may need beside it."""
    needs = {"ssl-key": "a.pem", "ssl-cert": "a.pem"}
    flags, env = [], {}
    for source, (setting, text) in values.items():
        match source:
            case Source.FLAG:
                flags = [f"{setting.flag}={text}"]
            case Source.ENVIRONMENT:
                env = {setting.variable: text}
            case _:
                needs[setting.name] = text
    (folder / "config-default.json").write_text(json.dumps(needs))
    return load(flags, env, folder)


def test_every_key_has_samples() -> None:
    assert SAMPLES.keys() | ABSENT == {setting.field for setting in SETTINGS}


@pytest.mark.parametrize(
    ("stronger", "weaker"),
    [(Source.FLAG, Source.ENVIRONMENT), (Source.FLAG, Source.FILE), (Source.ENVIRONMENT, Source.FILE)],
)
@pytest.mark.parametrize("setting", PRESENT, ids=lambda setting: setting.name)
def test_flags_win_over_the_environment_and_that_over_the_file(
    setting: Setting, stronger: Source, weaker: Source, folder: Path
) -> None:
    winner, loser = SAMPLES[setting.field]
    loaded = load_from(folder, {weaker: (setting, loser), stronger: (setting, winner)})
    expected = load_from(folder, {Source.FILE: (setting, winner)})
    other = load_from(folder, {Source.FILE: (setting, loser)})
    assert loaded.config == expected.config
    assert loaded.config != other.config
    assert loaded.origins[setting.name].source is stronger


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_a_key_that_nobody_gave_has_its_default(setting: Setting, tmp_path: Path) -> None:
    assert load([], {}, tmp_path).origins[setting.name].source is Source.DEFAULT


def test_the_defaults_are_those_of_clusterodm(tmp_path: Path) -> None:
    config = load([], {}, tmp_path).config
    assert (config.port, config.secure_port, config.admin_cli_port, config.admin_web_port) == (
        3000,
        None,
        8080,
        10000,
    )
    assert (config.token, config.admin_pass, config.public_address) == (Token(""), Token(""), "")
    assert (config.cloud_provider, config.log_level, config.splitmerge) == ("local", "info", True)
    assert (config.flood_limit, config.upload_max_speed, config.stale_uploads_timeout) == (0, 0, 0)


def test_paths_start_at_the_working_folder(tmp_path: Path) -> None:
    config = load(["--data-dir", "there"], {}, tmp_path).config
    assert config.data_dir == tmp_path / "there"
    assert config.spool_dir == tmp_path / "there" / "spool"
    assert load(["--spool-dir", "/mnt/spool"], {}, tmp_path).config.spool_dir == Path("/mnt/spool")
    assert load([], {}, tmp_path).config.data_dir == tmp_path / "data"


def test_admins_come_from_this_machine_only_unless_there_is_a_password(tmp_path: Path) -> None:
    assert load([], {}, tmp_path).config.admin_host == "127.0.0.1"
    assert load(["--admin-pass=x"], {}, tmp_path).config.admin_host == "0.0.0.0"
    assert load(["--admin-host=10.0.0.1"], {}, tmp_path).config.admin_host == "10.0.0.1"


def problems(*flags: str, folder: Path, **env: str) -> dict[str, str]:
    with pytest.raises(ConfigError) as error:
        load(flags, env, folder)
    assert str(error.value).count("\n") == len(error.value.problems)
    return {problem.key: problem.fix for problem in error.value.problems}


def test_tls_needs_both_files_or_neither(folder: Path) -> None:
    assert load(["--ssl-key=a.pem", "--ssl-cert=b.pem"], {}, folder).config.tls
    assert not load([], {}, folder).config.tls
    assert "both" in problems("--ssl-key=a.pem", folder=folder)["ssl-cert"]
    assert "both" in problems("--ssl-cert=a.pem", folder=folder)["ssl-cert"]


def test_a_missing_tls_file_is_told_once_and_by_name(folder: Path) -> None:
    missing = "cannot read the file: No such file or directory"
    for key, other in (("ssl-key", "ssl-cert"), ("ssl-cert", "ssl-key")):
        found = problems(f"--{key}=none.pem", f"--{other}=a.pem", "--secure-port=443", folder=folder)
        assert found == {key: missing}


def test_a_secure_port_needs_tls(folder: Path) -> None:
    assert "ssl-cert" in problems("--secure-port=443", folder=folder)["secure-port"]


def test_two_listeners_cannot_share_a_port(folder: Path) -> None:
    tls = ("--ssl-key=a.pem", "--ssl-cert=a.pem")
    assert "port" in problems("-p", "443", "--secure-port", "443", *tls, folder=folder)["secure-port"]
    assert "admin-cli-port" in problems("--admin-web-port=8080", folder=folder)["admin-web-port"]
    assert "port" in problems("-p", "8080", folder=folder)["admin-cli-port"]
    assert problems("-p", "8080", "--host=10.0.0.1", "--admin-host=::", folder=folder).keys() == {
        "admin-cli-port"
    }
    load(["-p", "8080", "--host=10.0.0.1"], {}, folder)
    load(["-p", "8080", "--admin-cli-port=0"], {}, folder)


def test_every_problem_of_every_source_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "config-default.json").write_text('{"prot": 1, "flood-limit": "many", "splitmerge": "false"}')
    with pytest.raises(ConfigError) as error:
        load(["--port=x", "--debgu"], {"CLUSTERODM_TOKN": "s3cret", "CLUSTERODM_FSYNC": "?"}, tmp_path)
    text = str(error.value)
    assert text.startswith("The configuration has 6 problems:\n")
    assert '  port = "x" (flag --port): give a whole number from 0 to 65535' in text
    assert "  --debgu (flag): there is no such key; did you mean --debug?" in text
    assert "  CLUSTERODM_TOKN (environment): there is no such key; did you mean CLUSTERODM_TOKEN?" in text
    assert '  fsync = "?" (environment CLUSTERODM_FSYNC): give true or false' in text
    assert (
        f"  prot (file {tmp_path / 'config-default.json'}): there is no such key; did you mean port?" in text
    )
    assert '  flood-limit = "many" (file ' in text
    assert "s3cret" not in text


def test_a_weaker_value_that_is_overruled_is_not_judged(tmp_path: Path) -> None:
    assert load(["--port=1"], {"CLUSTERODM_PORT": "nonsense"}, tmp_path).config.port == 1
