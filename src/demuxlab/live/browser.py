"""The live page: plain HTML, updated by server-sent events over our own TCP.

A state is written to a viewer only when the write of the previous one has returned, so that a slow viewer
gets the latest state and no queue of old ones.
"""

import json
import re
import secrets
import socket
import time
from contextlib import suppress
from html import escape
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from demuxlab import language
from demuxlab.live.labels import LABELS
from demuxlab.live.latest_state import INTERVAL, LatestState
from demuxlab.live.state import Row
from demuxlab.runtime import RunsHost
from demuxlab.wire.address import from_text

PAGE, EVENTS, SCRIPT = "/", "/live/events", "/live/events.js"
# Bytes of a viewer's send buffer: small, so that few old states wait in it.
SEND_BUFFER = 16_384
_HERE = Path(__file__).parent
_COOKIE = "demuxlab"
_TOKEN = re.compile(r"[\w-]{22}")
_RANGE = re.compile(r"([a-zA-Z]+)[-\w]*\s*(?:;\s*q=([01](?:\.\d{0,3})?))?\s*(?:,|$)")
_POLICY = (
    "default-src 'none'; connect-src 'self'; img-src data:; script-src 'self' 'unsafe-inline'; "
    "style-src 'unsafe-inline'; worker-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)

_Peer = tuple[str, int]


class LiveView:
    """Answers the requests for the live page in an http.server on a runtime's host."""

    def __init__(self, runtime: RunsHost) -> None:
        self._name = runtime.host.name
        self._latest = LatestState(runtime, _event)
        self._browsers: dict[_Peer, str] = {}

    def answer(self, handler: BaseHTTPRequestHandler) -> bool:
        """Answer a GET or HEAD; return False, without an answer, where the path is not one of the page's."""
        path = handler.path.partition("?")[0]
        # Every request, also for a file, has the cookie that identifies the browser of its connection.
        peer, browser = _peer(handler), _browser(handler) or secrets.token_urlsafe(16)
        self._browsers[peer] = browser
        if path == PAGE:
            wanted = preferred(handler.headers.get("Accept-Language", ""))
            page = _page(wanted, self._name)
            cookie = f"{_COOKIE}={browser}; Path=/; HttpOnly; SameSite=Strict"
            _send(handler, page, "text/html", cookie)
        elif path == SCRIPT:
            _send(handler, (_HERE / "events.js").read_bytes(), "text/javascript")
        elif path == EVENTS:
            self._stream(handler, peer, browser)
        else:
            return False
        return True

    def closed(self, handler: BaseHTTPRequestHandler) -> None:
        """Remove a connection that has ended."""
        self._browsers.pop(_peer(handler), None)

    def _stream(self, handler: BaseHTTPRequestHandler, peer: _Peer, browser: str) -> None:
        """Send states as server-sent events until the viewer disconnects (HTML standard, section 9.2)."""
        handler.close_connection = True
        handler.send_response(HTTPStatus.OK)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Cache-Control", "no-store")
        handler.send_header("Connection", "close")
        handler.end_headers()
        if handler.command == "HEAD":
            return
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        unlisted = (from_text(peer[0]), peer[1])
        self._latest.observer.unlisted.add(unlisted)
        sent_version, sent_own = 0, b""
        try:
            with suppress(OSError):
                while True:
                    version, event = self._latest.get()
                    if version != sent_version:
                        sent_version, own = version, self._connections_of(browser)
                        handler.wfile.write(event if own == sent_own else own + event)
                        sent_own = own
                    time.sleep(INTERVAL)
        finally:
            self._latest.observer.unlisted.discard(unlisted)

    def _connections_of(self, browser: str) -> bytes:
        """Return the connections of one browser as an event."""
        own = sorted(peer for peer, other in list(self._browsers.items()) if other == browser)
        return b"event: you\ndata: " + json.dumps(own).encode() + b"\n\n"


def preferred(accepted: str) -> str:
    """Return the most preferred language of an Accept-Language header (RFC 9110, section 12.5.4).

    Where none of its languages is available, the language of this process.
    """
    ranges = [(float(quality or 1), tag.lower()) for tag, quality in _RANGE.findall(accepted)]
    for quality, tag in sorted(ranges, key=lambda entry: -entry[0]):
        if quality and tag in language.CODES:
            return str(tag)
    return language.code()


def _event(state: Row) -> bytes:
    return b"data: " + json.dumps(state, separators=(",", ":")).encode() + b"\n\n"


def _page(wanted: str, name: str) -> bytes:
    catalog = language.translations(wanted)
    labels: dict[str, str] = {key: catalog.get(text, text) for key, text in LABELS.items()}
    labels |= {"language": wanted, "title": labels["title"].format(name=name)}
    # A browser ends a script at "</script", even within a string.
    labels["as_json"] = json.dumps(labels, ensure_ascii=False).replace("<", "\\u003c")

    def label(found: re.Match[str]) -> str:
        return labels[found[1]] if found[1] == "as_json" else escape(labels[found[1]])

    return re.sub(r"\{\{(\w+)\}\}", label, (_HERE / "page.html").read_text("utf-8")).encode()


def _send(handler: BaseHTTPRequestHandler, body: bytes, kind: str, cookie: str = "") -> None:
    handler.send_response(HTTPStatus.OK)
    handler.send_header("Content-Type", f"{kind}; charset=utf-8")
    handler.send_header("Content-Length", str(len(body)))
    handler.send_header("Content-Security-Policy", _POLICY)
    handler.send_header("Cache-Control", "no-store")
    handler.send_header("Vary", "Accept-Language, Cookie")
    if cookie:
        handler.send_header("Set-Cookie", cookie)
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)


def _peer(handler: Any) -> _Peer:
    return handler.client_address[0], handler.client_address[1]


def _browser(handler: BaseHTTPRequestHandler) -> str:
    """Return the token of a request's cookie, which identifies its browser; "" without a valid one."""
    try:
        cookie = SimpleCookie(handler.headers.get("Cookie", "")).get(_COOKIE)
    except CookieError:
        return ""
    return cookie.value if cookie is not None and _TOKEN.fullmatch(cookie.value) else ""
