"""fastapi-proxy-lib, with a client without limits."""

from __future__ import annotations

import httpx
from fastapi_proxy_lib.fastapi.app import reverse_http_app

from . import wire

UNLIMITED = httpx.Limits(max_connections=None, max_keepalive_connections=None)

app = reverse_http_app(
    httpx.AsyncClient(limits=UNLIMITED, timeout=60.0), base_url=f"{wire.origin()}/"
)
