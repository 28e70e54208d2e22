"""The platform's side of the demo: it tells the admin API what there is."""

from __future__ import annotations

import http.client
import json
from typing import Any

from .children import Child, DemoError
from .settings import NOT_READY, SERVICE, Bot

SECONDS = 10.0


class Platform:
    """Calls the admin API, as the program would that starts and ends the bots."""

    def __init__(self, admin: Child, key: str) -> None:
        self._admin = admin
        self.headers = {"Authorization": f"Bearer {key}"}

    def set_up(self, bots: tuple[Bot, ...]) -> str:
        """Register the sessions, and a service whose deployment is not ready; the
        secret of a key that opens both.

        Raises:
            DemoError: the admin API does not do it.
        """
        self._ask("PUT", f"/services/{NOT_READY}", {"ready": False})
        for bot in bots:
            where = f"/services/{SERVICE}/sessions/{bot.id}"
            self._ask("PUT", where, {"upstream": bot.upstream})
        key = self._ask("POST", "/keys", {"services": [SERVICE, NOT_READY]})
        secret: str = key["secret"]
        return secret

    def _ask(self, method: str, path: str, members: dict[str, Any]) -> dict[str, Any]:
        headers = {**self.headers, "Content-Type": "application/json"}
        connection = http.client.HTTPConnection(
            "127.0.0.1", self._admin.port, timeout=SECONDS
        )
        try:
            connection.request(method, path, json.dumps(members), headers)
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._admin.failed(f"did not answer {method} {path}") from error
        finally:
            connection.close()
        if response.status != 201:
            said = body.decode(errors="replace")
            raise DemoError(f"{method} {path}: {response.status} {said}")
        answer: dict[str, Any] = json.loads(body)
        return answer
