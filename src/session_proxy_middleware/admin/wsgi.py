"""The admin API as a WSGI application."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from werkzeug.exceptions import RequestEntityTooLarge

from ..errors import BodyTooLarge
from ..hooks import blocking
from ..models import Reply
from ..wsgi import Environ, StartResponse, native, status_line
from ..wsgi_client import body_stream
from .administration import AdminAuthenticator, Administration
from .errors import InvalidRequest
from .exchange import BODY, Question, ReadBody, Request, Step, exchange
from .operation import Call


class AdminAPI(Administration):
    """The admin API under WSGI: an application of its own, to be mounted or served
    where the public does not come. See `Administration` for its options."""

    @staticmethod
    def bridge(hook: AdminAuthenticator) -> Callable[[str], Any]:
        """See `Administration.bridge`."""
        return blocking(hook)

    def __call__(
        self, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        if self.lonely.unsaid:
            self.lonely.look(environ)
        flow = exchange(_request(environ), self)
        try:
            step: Step = next(flow)
            while not isinstance(step, Reply):
                try:
                    answer = self._perform(step, environ)
                except Exception as failure:
                    step = flow.throw(failure)
                else:
                    step = flow.send(answer)
        finally:
            flow.close()
        start_response(status_line(step.status), native(step.headers))
        return [step.body or b""]

    def _perform(self, step: Question, environ: Environ) -> Any:
        if isinstance(step, Call):
            return self.outage.watched(self._ask)(step)
        if isinstance(step, ReadBody):
            return _body(environ)
        return self.authenticate(step.token)

    def _ask(self, call: Call) -> Any:
        method = getattr(getattr(self.store, call.part), call.method)
        return method(*call.arguments, **call.options)


def _request(environ: Environ) -> Request:
    return Request(
        environ["REQUEST_METHOD"],
        _decoded(environ.get("PATH_INFO", "")),
        _decoded(environ.get("SCRIPT_NAME", "")),
        environ.get("QUERY_STRING", "").encode("latin-1"),
        _field(environ, "HTTP_AUTHORIZATION"),
        _field(environ, "CONTENT_TYPE"),
        _field(environ, "HTTP_X_REQUEST_ID"),
        environ.get("REMOTE_ADDR") or None,
    )


def _decoded(path: str) -> str:
    return path.encode("latin-1").decode("utf-8", "replace")


def _field(environ: Environ, variable: str) -> tuple[bytes, ...]:
    value: str = environ.get(variable, "")
    return (value.encode("latin-1"),) if value else ()


def _body(environ: Environ) -> bytes:
    try:
        # One more than is allowed: werkzeug refuses what reaches its limit.
        data = body_stream(environ, BODY + 1).read()
    except RequestEntityTooLarge as error:
        raise BodyTooLarge(f"over {BODY} bytes") from error
    except Exception as error:
        # Each server has its own for bad chunks, and for a client that has gone, who
        # reads no answer.
        raise InvalidRequest("the body did not come whole") from error
    if len(data) > BODY:
        raise BodyTooLarge(f"over {BODY} bytes")
    return data
