"""asgiproxy, with room for as many connections and requests as come."""

from __future__ import annotations

from urllib.parse import urlsplit

import aiohttp
from asgiproxy.config import BaseURLProxyConfigMixin, ProxyConfig
from asgiproxy.context import ProxyContext
from asgiproxy.simple_proxy import make_simple_proxy_app

from . import wire


class Config(BaseURLProxyConfigMixin, ProxyConfig):
    """One upstream, its own authority as `Host`."""

    upstream_base_url = wire.origin()
    rewrite_host_header = urlsplit(wire.origin()).netloc


class Context(ProxyContext):
    """One client session without aiohttp's limit of 100 connections."""

    _session: aiohttp.ClientSession | None

    @property
    def session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        return self._session


app = make_simple_proxy_app(Context(Config(), max_concurrency=100_000))
