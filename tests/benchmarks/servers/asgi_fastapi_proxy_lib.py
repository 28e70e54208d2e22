"""fastapi-proxy-lib for both protocols, with a client without limits."""

from __future__ import annotations

import httpx
from fastapi import FastAPI
from fastapi_proxy_lib.core.http import ReverseHttpProxy
from fastapi_proxy_lib.core.websocket import ReverseWebSocketProxy
from fastapi_proxy_lib.fastapi.router import RouterHelper

from . import wire

UNLIMITED = httpx.Limits(max_connections=None, max_keepalive_connections=None)
URL = f"{wire.origin()}/"

client = httpx.AsyncClient(limits=UNLIMITED, timeout=60.0)
proxies = (
    ReverseHttpProxy(client, base_url=URL),
    ReverseWebSocketProxy(client, base_url=URL.replace("http", "ws", 1)),
)

helper = RouterHelper()
app = FastAPI(lifespan=helper.get_lifespan())
for proxy in proxies:
    app.include_router(helper.register_router(proxy))
