"""What the OpenAPI document promises, and what any call made from it comes to."""

from __future__ import annotations

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

from tests.console.scripted import ScriptedPort

EXAMPLES = 25


def test_no_call_made_from_the_document_is_a_server_error(origin: str, port: ScriptedPort) -> None:
    schema = schemathesis.openapi.from_url(f"{origin}/api/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations()]
    assert {operation.label for operation in operations} == {
        "GET /api/snapshot",
        "POST /api/stop",
        "POST /api/command/{name}",
    }
    for operation in operations:
        assert 200 in statuses_of(operation, origin)
    assert port.stops
    assert port.commands


def statuses_of(operation: APIOperation, origin: str) -> set[int]:
    """What `EXAMPLES` calls come to, each of which is as the document says."""
    statuses = set()

    @settings(max_examples=EXAMPLES, deadline=None, database=None, derandomize=True,
              suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate])  # fmt: skip
    @given(case=operation.as_strategy())
    def every(case: Case) -> None:
        answer = case.call(headers={"origin": origin})
        case.validate_response(
            answer, checks=[not_a_server_error, status_code_conformance, response_schema_conformance]
        )
        statuses.add(answer.status_code)

    every()
    return statuses


def test_who_may_call_and_who_is_in_charge_is_documented(origin: str) -> None:
    document = httpx.get(f"{origin}/api/openapi.json").json()
    said = document["info"]["description"]
    for word in ("Origin", "one-time link", "While a page is in charge", "/ws/control", "take_over"):
        assert word in said
    posted = document["paths"]["/api/command/{name}"]["post"]
    assert {"401", "403", "404", "409", "413", "422", "500", "503"} <= posted["responses"].keys()
    (name,) = posted["parameters"]
    assert set(name["schema"]["enum"]) == {
        "arm", "run", "pause", "end", "label", "undo", "reset_done", "clear", "stop"
    }  # fmt: skip
