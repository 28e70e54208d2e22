"""`session-proxy serve`: a gateway of its own, under uvicorn."""

from __future__ import annotations

import argparse
import math
import os
import socket
from typing import Any

from .. import settings
from ..errors import ConfigError
from ..settings import LIST, PORT, STORE, STORE_FILE, TEXT, WHOLE, Setting
from ..stores import open_store
from .arguments import add_settings, add_store, leaf
from .failure import Failure
from .needed import needs

HOST_SETTING = Setting("host", TEXT, "address to listen on (127.0.0.1)")
PORT_SETTING = Setting("port", PORT, "port to listen on, 0 for any (8000)")
WORKERS = Setting("workers", WHOLE, "processes (1)")
TRUSTED = Setting(
    "forwarded-allow-ips",
    TEXT,
    "front proxies whose X-Forwarded-* is true, or * (none)",
)
CERTIFICATE = Setting("ssl-certfile", TEXT, "certificate, to serve https")
CERTIFICATE_KEY = Setting("ssl-keyfile", TEXT, "its key")
SERVING = (HOST_SETTING, PORT_SETTING, WORKERS, TRUSTED, CERTIFICATE, CERTIFICATE_KEY)

AFTER_DRAIN = 5
"""Seconds from the end of draining to when uvicorn cancels what still runs."""

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "plain": {"format": "%(asctime)s %(levelname)s %(message)s"},
        "access": {
            "format": "%(asctime)s %(message)s %(total_ms)s ms %(bytes_sent)s B "
            "key=%(principal)s id=%(request_id)s"
        },
    },
    "handlers": {
        name: {"class": "logging.StreamHandler", "formatter": name}
        for name in ("plain", "access")
    },
    "loggers": {
        "session_proxy.access": {
            "level": "INFO",
            "handlers": ["access"],
            "propagate": False,
        }
    },
    "root": {"level": "INFO", "handlers": ["plain"]},
}
"""What happens goes to standard error: no query string, no key."""


def add(commands: Any) -> None:
    """Add the command."""
    parser = leaf(commands, "serve", _serve, "a gateway of its own, under uvicorn")
    parser.description = (
        "Serves sessions without an application behind it: whatever is no session's "
        "path is answered with 404. On SIGTERM it drains."
    )
    add_store(parser)
    add_settings(parser, SERVING)
    add_settings(parser.add_argument_group("options of the proxy"), settings.PROXY)


def _serve(options: argparse.Namespace) -> int:
    needs("serve", "uvicorn", extra="server")
    import uvicorn

    flags = vars(options)
    store = open_store(settings.store_url(flags, os.environ))
    said = settings.given(settings.PROXY, flags, os.environ)
    proxy = settings.proxy(store, said)  # Here, where it fails in one line.
    own = settings.given(SERVING, flags, os.environ)

    def value(setting: Setting, default: Any) -> Any:
        found = own.get(setting.key)
        return default if found is None else found.read(setting.kind)

    host, port = value(HOST_SETTING, "127.0.0.1"), value(PORT_SETTING, 8000)
    workers, trusted = value(WORKERS, 1), value(TRUSTED, None)
    certificate, key = value(CERTIFICATE, None), value(CERTIFICATE_KEY, None)
    if workers < 1:
        raise ConfigError(f"{WORKERS.flag} must be a whole number from 1 up")
    if certificate is None and key is not None:
        raise ConfigError(f"{CERTIFICATE_KEY.flag} needs {CERTIFICATE.flag}")
    _check_address(host, port)
    _hand_on(flags)
    uvicorn.run(
        "session_proxy_middleware.gateway:application",
        factory=True,
        host=host,
        port=port,
        workers=workers,
        lifespan="on",
        log_config=LOGGING,
        # Its lines hold query strings; the proxy writes its own.
        access_log=False,
        proxy_headers=trusted is not None,
        forwarded_allow_ips=trusted,
        ssl_certfile=certificate,
        ssl_keyfile=key,
        timeout_graceful_shutdown=math.ceil(proxy.draining.seconds) + AFTER_DRAIN,
    )
    return 0


def _hand_on(flags: dict[str, Any]) -> None:
    """What flags say is said to the workers in their environment: other users can't
    read it there."""
    both = {STORE.key: STORE, STORE_FILE.key: STORE_FILE}
    if any(flags[key] is not None for key in both):
        for setting in both.values():
            os.environ.pop(setting.variable, None)
    for setting in (*both.values(), *settings.PROXY):
        text = flags[setting.key]
        if text is not None:
            # An empty variable says nothing; "none" is the empty list.
            os.environ[setting.variable] = text or (
                "none" if setting.kind is LIST else ""
            )


def _check_address(host: str, port: int) -> None:
    """Raises `Failure` where nothing can listen. uvicorn would say it at length."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((host, port))
    except OSError as error:
        raise Failure(
            f"cannot listen on {host}, port {port}: {error.strerror}; choose another "
            "with --host and --port"
        ) from error
