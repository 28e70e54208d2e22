"""`session-proxy explain`: what would become of a request, and why."""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

from .. import settings
from ..errors import ConfigError
from ..models import Field, Headers
from ..settings import BEGINNING
from .account import SECRET_FIELDS, account, told
from .arguments import add_json, add_settings, add_store, bytes_in, leaf, secret_in
from .opened import opened
from .rehearsal import rehearse, request_to
from .showing import say

KEY = BEGINNING + "KEY"
_BEARER = b"Bearer "


def add(commands: Any) -> None:
    """Add the command."""
    parser = leaf(
        commands, "explain", _explain, "what would become of a request; sends nothing"
    )
    parser.add_argument("method", help="GET, POST …")
    parser.add_argument("url", help="http://host/path, or the path alone")
    parser.add_argument(
        *("-H", "--header"),
        action="append",
        default=[],
        metavar="HEADER",
        help="'Name: value', or @FILE for lines of these (@- for standard input); "
        "credentials in a file alone",
    )
    parser.add_argument(
        "--key-file",
        metavar="FILE",
        help=f"the caller's key, in a file (- for standard input) [{KEY}]",
    )
    parser.add_argument(
        "--client", default="127.0.0.1", metavar="ADDRESS", help="who asks (127.0.0.1)"
    )
    add_store(parser)
    add_json(parser)
    options = parser.add_argument_group("options of the proxy")
    add_settings(options, settings.PROXY)


def _explain(options: argparse.Namespace) -> int:
    headers = _headers(options)
    with opened(options) as store:
        said = settings.given(settings.PROXY, vars(options), os.environ)
        proxy = settings.proxy(store, said)
        request = request_to(
            options.method, options.url, headers, options.client, proxy
        )
        if request is None:
            found = {
                "outcome": "not_a_session",
                "reason": "the path is the host application's (or, of a gateway, 404): "
                "no {prefix}/{service}/sessions/{id}/{path}",
            }
        else:
            found = account(rehearse(request, proxy), proxy, store)
    if options.json:
        say(json.dumps(found))
    else:
        for line in told(found):
            say(line)
    return 0 if found["outcome"] == "forwarded" else 1


def _headers(options: argparse.Namespace) -> Headers:
    headers: Headers = []
    for each in options.header:
        if each.startswith("@"):
            lines = bytes_in(each[1:]).splitlines()
            headers += [_field(line) for line in lines if line.strip()]
            continue
        field = _field(each.encode())
        if field[0] in SECRET_FIELDS:
            raise ConfigError(
                f"{field[0].decode()} in an argument shows in the list of processes: "
                f"give -H @FILE, --key-file or {KEY}"
            )
        headers.append(field)
    key = os.environ.get(KEY)
    if options.key_file is not None:
        key = secret_in(options.key_file)
    elif any(name == b"authorization" for name, _ in headers):
        key = None
    if key:
        headers.append((b"authorization", _BEARER + key.encode()))
    return headers


def _field(line: bytes) -> Field:
    name, colon, value = line.partition(b":")
    if not colon or not name.strip():
        # Not repeated: it may be a secret.
        raise ConfigError("a header must look like 'Name: value'")
    return name.strip().lower(), value.strip()
