"""Which operation a path and a method ask for."""

from __future__ import annotations

import re
from collections.abc import Iterable

from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import Map, Rule

from .errors import OperationNotAllowed, PathNotFound
from .operation import Operation

_PLACE = re.compile(r"{(\w+)}")


class Routes:
    """The paths of the operations."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._rules = Map(
            [
                Rule(
                    _PLACE.sub(r"<\1>", each.path), methods=[each.method], endpoint=each
                )
                for each in operations
            ],
            # One address for each thing: no redirects to others.
            merge_slashes=False,
            redirect_defaults=False,
        ).bind("")

    def match(self, path: str, method: str) -> tuple[Operation, dict[str, str]]:
        """The operation, and the names in the path. HEAD is GET without the body.

        Raises:
            PathNotFound: there is none of this path.
            OperationNotAllowed: there is, and none of this method.
        """
        try:
            operation, names = self._rules.match(path, method)
        except MethodNotAllowed as error:
            allowed = ", ".join(sorted(error.valid_methods or ()))
            raise OperationNotAllowed(
                "Method not allowed", (b"allow", allowed.encode())
            ) from error
        except NotFound as error:
            raise PathNotFound(path) from error
        return operation, dict(names)
