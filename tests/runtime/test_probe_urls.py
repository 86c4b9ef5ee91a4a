"""What the probe makes of a URL."""

from __future__ import annotations

import pytest

from supervisor.runtime.probe import NetworkProbe
from tests.runtime.nasty import ASKED, Nasty

pytestmark = pytest.mark.acceptance

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
URLS = {
    "http://127.0.0.1:{port}": ("/", "127.0.0.1:{port}"),
    "http://127.0.0.1:{port}/a/b?c=d&e=%20#f": ("/a/b?c=d&e=%20", "127.0.0.1:{port}"),
    "http://127.0.0.1:{port}?q": ("/?q", "127.0.0.1:{port}"),
    "http://localhost:{port}/über uns": ("/%C3%BCber%20uns", "localhost:{port}"),
    "HTTP://LOCALHOST:{port}/": ("/", "localhost:{port}"),
}


@pytest.mark.parametrize("url", URLS)
async def test_a_url_is_asked_for_as_it_is_written(url: str) -> None:
    path, host = URLS[url]
    probe = NetworkProbe()
    async with Nasty((ASKED, OK)).listening() as server:
        answer = await probe.http.get(url.format(port=server.port))
        await probe.close()

    assert (200, b"ok") == (answer.status, answer.body)
    expected = f"GET {path} HTTP/1.1\r\nHost: {host.format(port=server.port)}\r\n"
    assert expected == server.requests[0].decode()[: len(expected)]


async def test_a_name_and_a_password_are_sent_as_such() -> None:
    probe = NetworkProbe()
    async with Nasty((ASKED, OK)).listening() as server:
        await probe.http.get(f"http://me:p%40ss@127.0.0.1:{server.port}/")
        await probe.close()

    assert b"Authorization: Basic bWU6cEBzcw==\r\n" in server.requests[0]


@pytest.mark.parametrize(
    "url", ["ftp://127.0.0.1/", "127.0.0.1:80/", "http:///path", "http://127.0.0.1:0/", "http://h:99999/"]
)
async def test_what_is_no_url_is_the_checks_mistake(url: str) -> None:
    """Not the instance's."""
    probe = NetworkProbe()
    with pytest.raises(ValueError, match=r"(?i)URL|port"):
        await probe.http.get(url)
    await probe.close()
