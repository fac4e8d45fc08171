from __future__ import annotations

import http.server
import json
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import pytest

from clusterodm_py import __version__
from clusterodm_py.cli import COMMANDS, main, run
from clusterodm_py.config.flags import build_parser

TLS = Path(__file__).parent / "tls"


@pytest.fixture(autouse=True)
def _nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CLUSTERODM_TOKEN", raising=False)


Output = pytest.CaptureFixture[str]


def test_check_config_prints_what_is_in_force_and_notes(capsys: Output) -> None:
    assert main(["check-config", "-p", "4000", "--token=s3cret"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["port"]["value"] == 4000
    assert said.err.startswith("note: --token shows its secret")
    assert "s3cret" not in said.out + said.err


@pytest.mark.parametrize("command", [[], ["serve"], ["check-config"], ["healthcheck"]])
def test_a_bad_configuration_is_told_on_standard_error_and_exits_2(
    command: Sequence[str], capsys: Output
) -> None:
    assert main([*command, "--prot=4000"]) == 2
    said = capsys.readouterr()
    assert "did you mean --port?" in said.err
    assert said.out == ""


def test_an_unknown_command_is_refused_with_the_nearest(capsys: Output) -> None:
    assert main(["chek-config"]) == 2
    assert "did you mean check-config?" in capsys.readouterr().err
    assert main(["zzz"]) == 2
    assert "simulate-node" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["version", "--version"])
def test_the_version_is_told(word: str, capsys: Output) -> None:
    assert main([word]) == 0
    assert capsys.readouterr().out == f"clusterodm-py {__version__}\n"


def test_help_names_every_command() -> None:
    text = build_parser().format_help()
    assert [name for name in COMMANDS if f"\n  {name} " not in text] == []


def test_the_module_runs_like_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "clusterodm_py", "--help"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("usage: clusterodm")


def test_a_command_with_flags_of_its_own_explains_them(capsys: Output) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(["simulate-node", "--help"])
    assert leaving.value.code == 0
    assert capsys.readouterr().out.startswith("usage: clusterodm simulate-node")


def test_a_missing_extra_names_the_fix(capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyodm", None)

    def demo(_: Sequence[str]) -> int:
        import_module("pyodm")
        return 0

    assert run("demo", demo, []) == 1
    assert capsys.readouterr().err == "clusterodm demo needs pyodm: pip install 'clusterodm-py[demo]'\n"


def test_a_broken_installation_is_not_taken_for_a_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "json.tool", None)

    def broken(_: Sequence[str]) -> int:
        import_module("json.tool")
        return 0

    with pytest.raises(ImportError):
        run("demo", broken, [])


# -- healthcheck ------------------------------------------------------------------------------------------------------


@contextmanager
def proxy(status: int, tls: bool = False) -> Iterator[tuple[int, list[str]]]:
    """A server that answers everything with `status`; gives its port and the paths it was asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(TLS / "cert.pem", TLS / "key.pem")
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port, asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(("status", "exit_status"), [(200, 0), (401, 0), (500, 1), (404, 1)])
def test_a_proxy_that_answers_is_healthy(status: int, exit_status: int) -> None:
    with proxy(status) as (port, asked):
        assert main(["healthcheck", "-p", str(port)]) == exit_status
    assert asked == ["/info"]


def test_the_healthcheck_uses_the_token() -> None:
    with proxy(200) as (port, asked):
        assert main(["healthcheck", "-p", str(port), "--token=a&b"]) == 0
    assert asked == ["/info?token=a%26b"]


def test_the_healthcheck_speaks_tls_where_the_proxy_does() -> None:
    with proxy(200, tls=True) as (port, _):
        flags = [f"--ssl-key={TLS / 'key.pem'}", f"--ssl-cert={TLS / 'cert.pem'}"]
        assert main(["healthcheck", "-p", str(port), *flags]) == 0
        assert main(["healthcheck", "-p", str(port)]) == 1
        assert main(["healthcheck", "-p", str(port), *flags, "--secure-port=443"]) == 1


def test_nobody_there_is_not_healthy(capsys: Output) -> None:
    with proxy(200) as (port, _):
        pass
    assert main(["healthcheck", "-p", str(port)]) == 1
    assert f"127.0.0.1:{port} does not answer" in capsys.readouterr().err
