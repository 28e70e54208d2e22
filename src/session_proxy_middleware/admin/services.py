"""Operations on services."""

from __future__ import annotations

from typing import Any

from ..errors import ServiceNotFound
from ..models import Service
from .members import AFTER, LIMIT, LISTED, boolean
from .operation import Asked, Call, Operation, Outcome, Performed

MEMBERS = {"ready": boolean("Its sessions take requests; else PCC-1001.", default=True)}


def shown(service: Service) -> dict[str, Any]:
    """A service as it is answered."""
    return {"name": service.name, "ready": service.ready}


def _list(asked: Asked) -> Performed:
    after, limit = asked.query.get("after", ""), asked.query.get("limit", LISTED)
    every: list[Service] = yield Call("services", "list")
    found = [each for each in every if each.name > after]
    more = len(found) > limit
    return Outcome(
        200,
        {
            "services": [shown(each) for each in found[:limit]],
            "next": found[limit - 1].name if more else None,
        },
    )


def _put(asked: Asked) -> Performed:
    name = asked.names["service"]
    before = yield Call("services", "lookup", (name,))
    service = yield Call("services", "put", (name,), asked.members)
    values = shown(service)
    return Outcome(201 if before is None else 200, values, values=values)


def _show(asked: Asked) -> Performed:
    name = asked.names["service"]
    service = yield Call("services", "lookup", (name,))
    if service is None:
        raise ServiceNotFound(name)
    return Outcome(200, shown(service))


def _remove(asked: Asked) -> Performed:
    name = asked.names["service"]
    if not (yield Call("services", "remove", (name,))):
        raise ServiceNotFound(name)
    return Outcome(204)


_ONE = "/services/{service}"

OPERATIONS = (
    Operation(
        id="listServices",
        action="service.list",
        method="GET",
        path="/services",
        summary="The services, by name.",
        perform=_list,
        query={"after": AFTER, "limit": LIMIT},
        answers={200: ("A page of services.", "Services")},
    ),
    Operation(
        id="putService",
        action="service.put",
        method="PUT",
        path=_ONE,
        summary="Register a service, or change it.",
        perform=_put,
        members=MEMBERS,
        answers={
            200: ("The service, changed.", "Service"),
            201: ("The service, new.", "Service"),
        },
    ),
    Operation(
        id="getService",
        action="service.show",
        method="GET",
        path=_ONE,
        summary="A service.",
        perform=_show,
        answers={200: ("The service.", "Service")},
        refusals=(404,),
    ),
    Operation(
        id="removeService",
        action="service.remove",
        method="DELETE",
        path=_ONE,
        summary="Forget a service: its sessions answer 404.",
        perform=_remove,
        answers={204: ("It is forgotten.", None)},
        refusals=(404,),
    ),
)
