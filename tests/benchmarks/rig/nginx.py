"""Configurations of nginx: the upstream of most loads, and the ceiling."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from ..servers import wire

#: Room for 2,000 listening addresses, their connections, and idle ones.
CONNECTIONS: Final = 12_000

FRAME: Final = """\
daemon off;
worker_processes 1;
{user}
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    default_type application/json;
    sendfile on;
    tcp_nodelay on;
    keepalive_timeout 60s;
    keepalive_requests 100000000;
    client_max_body_size 0;
{inner}
}}
"""


def upstream(*, folder: Path, port: int, addresses: int) -> Path:
    """One nginx on many loopback addresses: the small JSON, and `blob`.

    `blob` is a sparse file in `folder`, of `wire.BLOB_BYTES`, in the page cache.
    """
    with (folder / wire.BLOB).open("wb") as blob:
        blob.truncate(wire.BLOB_BYTES)
    with (folder / wire.BLOB).open("rb", buffering=0) as blob:
        while blob.read(1024 * 1024):  # the first reader would wait for its pages
            pass
    listen = "\n".join(
        f"        listen {wire.host(index)}:{port};" for index in range(addresses)
    )
    return _written(
        folder,
        f"""
    server {{
{listen}
        location / {{ return 200 '{wire.BODY.decode()}'; }}
        location ~ /{wire.BLOB}$ {{ alias {folder}/{wire.BLOB}; }}
    }}""",
    )


def proxy(*, folder: Path, port: int, upstream_port: int) -> Path:
    """`proxy_pass` with keep-alive, streaming both ways, nothing on disk."""
    return _written(
        folder,
        f"""
    upstream sessions {{
        server {wire.host(0)}:{upstream_port};
        keepalive 512;
        keepalive_requests 100000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_request_buffering off;
        proxy_max_temp_file_size 0;
        location / {{ proxy_pass http://sessions; }}
        location ~ /{wire.EVENTS}$ {{
            proxy_buffering off;
            proxy_pass http://sessions;
        }}
        location ~ /{wire.SOCKET}$ {{
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
            proxy_pass http://sessions;
        }}
    }}""",
    )


def _written(folder: Path, inner: str) -> Path:
    user = "user root;" if os.geteuid() == 0 else ""  # else "nobody" reads `folder`
    config = folder / "nginx.conf"
    config.write_text(
        FRAME.format(user=user, folder=folder, connections=CONNECTIONS, inner=inner)
    )
    return config
