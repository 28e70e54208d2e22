"""Chromium by the W3C WebDriver protocol, which is JSON over HTTP."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from tests.support.clocks import wait_until
from tests.support.programs import program

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = [
    "--headless=new",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--no-first-run",
    # Its own sandbox does not start for root, which is what CI runs as.
    "--no-sandbox",
]
PATIENCE = 30


class Chromium:
    """A browser with one window."""

    def __init__(self, driver: httpx.Client) -> None:
        self._driver = driver

    def open(self, url: str) -> None:
        """Navigate, as if typed; returns when the page has loaded."""
        self._post("url", url=url)

    def run(self, script: str) -> Any:
        """What a function of that body returns, in the page; a promise is awaited."""
        return self._post("execute/sync", script=script, args=[])

    def shows(self, text: str) -> None:
        """Wait until that is the text of the page."""
        script = "return document.body.innerText"
        wait_until(lambda: self.run(script) == text, PATIENCE)

    def titled(self, title: str) -> None:
        """Wait until that is the title of the page."""
        wait_until(lambda: self.run("return document.title") == title, PATIENCE)

    def click(self, selector: str) -> None:
        """Click. Where that navigates, the page that is left may still answer the next
        command: see `shows`, `titled`."""
        found = self._post("element", using="css selector", value=selector)
        [element] = found.values()
        self._post(f"element/{element}/click")

    @property
    def url(self) -> str:
        """Where the window is."""
        return str(self._driver.get("url").json()["value"])

    def cookies(self) -> dict[str, str]:
        """The whole jar, HttpOnly or not, of whatever path."""
        found = self._cdp("Network.getAllCookies")["cookies"]
        return {each["name"]: each["value"] for each in found}

    def forget(self) -> None:
        """An empty jar, an empty cache, an empty page."""
        self.open("about:blank")
        self._cdp("Network.clearBrowserCookies")
        self._cdp("Network.clearBrowserCache")

    def _cdp(self, command: str) -> Any:
        return self._post("goog/cdp/execute", cmd=command, params={})

    def _post(self, command: str, **values: Any) -> Any:
        reply = self._driver.post(command, json=values)
        assert reply.is_success, reply.text
        return reply.json()["value"]


@contextmanager
def chromium() -> Iterator[Chromium]:
    """A browser and its driver, found by name in PATH."""
    browser = program(*BROWSERS, package="chromium")
    driver = program("chromedriver", package="chromium-driver")
    options = {"binary": browser, "args": ARGUMENTS}
    wanted = {"browserName": "chrome", "goog:chromeOptions": options}
    command = [driver, "--port=0"]
    with (
        # It leaves some behind, and may still be about it when the driver has ended.
        TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": folder},
        ) as process,
    ):
        try:
            sessions = f"http://127.0.0.1:{_port(process)}/session"
            body = {"capabilities": {"alwaysMatch": wanted}}
            reply = httpx.post(sessions, json=body, timeout=PATIENCE)
            assert reply.is_success, reply.text
            session = f"{sessions}/{reply.json()['value']['sessionId']}"
            try:
                with httpx.Client(base_url=session, timeout=PATIENCE) as client:
                    yield Chromium(client)
            finally:
                # The driver does not take the browser with it.
                reply = httpx.delete(session, timeout=PATIENCE)
                assert reply.is_success, reply.text
        finally:
            process.terminate()


def _port(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        found = re.search(r"started successfully on port (\d+)", line)
        if found is not None:
            return found[1]
    raise RuntimeError("chromedriver has ended without a port")
