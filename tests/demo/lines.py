"""The `curl` lines that the demo prints, run by curl or, as parsed, without it."""

from __future__ import annotations

import argparse
import http.client
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlsplit


class Printed(NamedTuple):
    """A line and what the demo says will come back."""

    name: str
    status: int
    answered_by: str
    line: str


class Seen(NamedTuple):
    """What came back."""

    status: int
    answered_by: str


_PRINTED = re.compile(r"^# ([^\n]+): (\d{3}) by (\S+)\n(\S*[^\n]*curl [^\n]+)$", re.M)


def printed(output: str) -> list[Printed]:
    """The lines in the demo's output, in their order."""
    return [
        Printed(name, int(status), answered_by, line)
        for name, status, answered_by, line in _PRINTED.findall(output)
    ]


def by_curl(line: str) -> Seen:
    """Paste it into a shell."""
    done = subprocess.run(["sh", "-c", line], capture_output=True, timeout=30)
    assert done.returncode == 0, done.stderr
    # A head of its own for each interim response; the last one counts.
    heads = re.findall(rb"^HTTP/1\.1 .*?\r\n\r\n", done.stdout, re.M | re.S)
    status, *fields = heads[-1].decode("latin-1").strip().split("\r\n")
    headers = dict(field.lower().split(": ", 1) for field in fields)
    return Seen(int(status.split()[1]), _answered_by(headers))


def by_parsing(line: str) -> Seen:
    """Do what curl would do."""
    feed, bar, command = line.rpartition(" | ")
    options = _curl().parse_args(shlex.split(command)[1:])
    url = urlsplit(options.url)
    headers = dict(header.split(": ", 1) for header in options.header)
    body = options.data.encode() if options.data else None
    if bar:
        assert options.upload == "-"
        fed = subprocess.run(["sh", "-c", feed], capture_output=True, check=True)
        body = fed.stdout
    assert url.hostname is not None
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=30)
    target = f"{url.path}?{url.query}" if url.query else url.path
    method = "HEAD" if options.head else options.request
    connection.request(method, target, iter([body]) if bar and body else body, headers)
    response = connection.getresponse()
    response.read()
    connection.close()
    found = {name.lower(): value for name, value in response.getheaders()}
    return Seen(response.status, _answered_by(found))


WAYS: list[Callable[[str], Seen]] = [by_parsing]
if shutil.which("curl"):
    WAYS.append(by_curl)


def _curl() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    parser.add_argument("-i", action="store_true")
    parser.add_argument("-N", action="store_true")
    parser.add_argument("--path-as-is", action="store_true")
    parser.add_argument("-I", dest="head", action="store_true")
    parser.add_argument("-D")
    parser.add_argument("-o")
    parser.add_argument("-T", dest="upload")
    parser.add_argument("-X", dest="request", default="GET")
    parser.add_argument("-H", dest="header", action="append", default=[])
    parser.add_argument("-d", dest="data")
    parser.add_argument("url")
    return parser


def _answered_by(headers: dict[str, str]) -> str:
    if "x-session-proxy-error" in headers and headers.get("x-answered-by") != "admin":
        return "proxy"
    return headers["x-answered-by"]
