"""How gunicorn runs the demo's WSGI applications."""

from __future__ import annotations

import os
import signal
from typing import Any

from . import lifeline

# More could be: they share the store. But each takes its time to start.
workers = 1
worker_class = "gthread"
threads = 8
loglevel = "warning"
graceful_timeout = 1
forwarded_allow_ips = ""
control_socket_disable = True


def post_worker_init(worker: Any) -> None:
    """The worker watches for both: a thread in gunicorn's own process would be one
    that it forks with."""

    def end() -> None:
        if os.getppid() == worker.ppid:
            os.kill(worker.ppid, signal.SIGTERM)
        else:
            os.kill(os.getpid(), signal.SIGKILL)

    lifeline.watch(end)
