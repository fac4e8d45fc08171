from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterodm_py.config import ConfigError, effective_json, load
from clusterodm_py.config.settings import SETTINGS

ROOT = Path(__file__).parents[2]
HERE = Path("/nowhere")

secrets = st.text(st.characters(min_codepoint=33, exclude_categories=["Cs"]), max_size=20).map(
    "s3cret".__add__
)


def test_every_key_is_told_with_its_value_and_its_origin() -> None:
    told = json.loads(effective_json(load(["-p", "1e3"], {"CLUSTERODM_FSYNC": "yes"}, HERE)))
    assert list(told) == [setting.name for setting in SETTINGS]
    assert told["port"] == {"value": 1000, "from": "flag --port"}
    assert told["fsync"] == {"value": True, "from": "environment CLUSTERODM_FSYNC"}
    assert told["secure-port"] == {"value": 0, "from": "default"}
    assert told["data-dir"] == {"value": "/nowhere/data", "from": "default"}
    assert told["ssl-key"] == {"value": "", "from": "default"}
    assert told["token"] == {"value": "", "from": "default"}


def test_each_key_has_a_line_of_its_own() -> None:
    lines = effective_json(load([], {}, HERE)).splitlines()
    assert len(lines) == len(SETTINGS) + 2


def test_secrets_are_stars() -> None:
    loaded = load(["--token=a", "--admin-pass=b", "--node", "n:1?token=c", "--node", "m:2"], {}, HERE)
    told = json.loads(effective_json(loaded))
    assert told["token"]["value"] == told["admin-pass"]["value"] == "***"
    assert told["node"]["value"] == ["n:1?token=***", "m:2"]


@given(secrets)
def test_no_secret_is_ever_told(secret: str) -> None:
    encoded = quote(secret, safe="")
    loaded = load(
        [f"--token={secret}", f"--node=a:1?token={encoded}"], {"CLUSTERODM_ADMIN_PASS": secret}, HERE
    )
    for text in (effective_json(loaded), repr(loaded), *loaded.notices):
        assert "s3cret" not in text


@given(
    secrets,
    st.sampled_from(["--node=a:0?token=", "--node=", "--tokn=", "--cloud-provider=http://u:", "--nod="]),
)
def test_no_secret_is_told_in_a_problem(secret: str, flag: str) -> None:
    with pytest.raises(ConfigError) as error:
        load([f"{flag}{quote(secret, safe='')}@x:y:z", "--port=x"], {"CLUSTERODM_PASS": secret}, HERE)
    assert "s3cret" not in str(error.value)
    assert "s3cret" not in repr(error.value.problems)


def test_what_is_told_configures_the_same_again(tmp_path: Path) -> None:
    first = load(
        ["--admin-cli-port=0", "--node=a:1", "--cors-origins=http://a", "--spool-quota=5G"], {}, tmp_path
    )
    values = {key: entry["value"] for key, entry in json.loads(effective_json(first)).items()}
    (tmp_path / "again.json").write_text(json.dumps(values))
    assert load(["--config=again.json"], {}, tmp_path).config == first.config


# -- config.example.json ----------------------------------------------------------------------------------------------


def test_the_example_holds_every_key_and_no_other() -> None:
    example = json.loads((ROOT / "config.example.json").read_text())
    assert example.keys() == {setting.name for setting in SETTINGS}


def test_the_example_changes_nothing() -> None:
    example = load(["--config", str(ROOT / "config.example.json")], {}, HERE)
    assert example.config == load([], {}, HERE).config
    assert example.notices == ()


# -- notices ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--token=x"], "CLUSTERODM_TOKEN_FILE"),
        (["--admin-pass=x"], "CLUSTERODM_ADMIN_PASS"),
        (["--node=a:1?token=x"], "CLUSTERODM_NODE"),
        (["--admin-host=::"], "whoever can reach it"),
        (["--public-address=https://a:3443"], "port 443 only"),
        (["--tokens-file=/dev/null", "-c", "lightning"], "judges tokens"),
        (["--ssl-key=/dev/null", "--ssl-cert=/dev/null"], "HTTPS on port 3000"),
        (["--ssl-key=/dev/null", "--ssl-cert=/dev/null", "--secure-port=444"], "HTTPS on port 444"),
    ],
)
def test_what_is_allowed_but_risky_is_told(flags: list[str], says: str) -> None:
    (notice,) = load(flags, {}, HERE).notices
    assert says in notice


@pytest.mark.parametrize(
    "flags",
    [
        [],
        ["--node=a:1"],
        ["--admin-host=localhost"],
        ["--public-address=https://a"],
        ["--public-address=https://a:3443", "--no-splitmerge"],
        ["--ssl-key=/dev/null", "--ssl-cert=/dev/null", "--secure-port=443"],
        ["--ssl-key=/dev/null", "--ssl-cert=/dev/null", "--public-address=http://a:1"],
    ],
)
def test_what_is_fine_is_not_told(flags: list[str]) -> None:
    assert load(flags, {}, HERE).notices == ()
