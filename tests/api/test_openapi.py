"""The OpenAPI document: valid, complete, and true to what the API does."""

import json

import pytest
from openapi_spec_validator import validate

from tests.api.problems import code_of


@pytest.fixture
def document(client, db):
    response = client.get("/api/v1/openapi.json")
    assert response.status_code == 200
    return response.json()


def operations(document):
    return {
        f"{method} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def test_it_is_valid_openapi(document):
    assert document["openapi"].startswith("3.1")
    validate(document)


def test_it_names_every_operation(document):
    assert {name: operation["operationId"] for name, operation in operations(document).items()} == {
        "get /api/v1/me": "getMe",
        "get /api/v1/roles": "listRoles",
        "get /api/v1/explain": "explainRole",
        "post /api/v1/credentials": "issueCredentials",
        "post /api/v1/console": "openConsole",
        "get /api/v1/requests": "listRequests",
        "post /api/v1/requests": "askForAccess",
        "get /api/v1/requests/{request_id}": "getRequest",
        "post /api/v1/requests/{request_id}/withdraw": "withdrawRequest",
        "post /api/v1/requests/{request_id}/decisions": "decideRequest",
    }


def test_every_operation_wants_a_bearer_token(document):
    for name, operation in operations(document).items():
        (scheme,) = operation["security"][0]
        assert document["components"]["securitySchemes"][scheme] == {"type": "http", "scheme": "bearer"}, name


def test_every_operation_says_which_problems_it_answers_with(document):
    for name, operation in operations(document).items():
        for status in ("400", "401", "403", "429", "500", "503"):
            content = operation["responses"][status]["content"]["application/problem+json"]
            assert content["schema"] == {"$ref": "#/components/schemas/Problem"}, (name, status)
            (example,) = content["examples"].values()
            assert example["value"]["status"] == int(status)
            assert set(example["value"]) >= set(document["components"]["schemas"]["Problem"]["required"])


def test_bodies_refuse_unknown_keys_and_have_examples(document):
    for name in ("CredentialsRequest", "ConsoleRequest"):
        schema = document["components"]["schemas"][name]
        assert schema["additionalProperties"] is False
        assert schema["examples"]


def test_it_is_public_cacheable_and_sets_no_cookie(client, db):
    response = client.get("/api/v1/openapi.json")
    assert response["Cache-Control"] == "public, max-age=300"
    assert not response.cookies
    again = client.get("/api/v1/openapi.json", HTTP_IF_NONE_MATCH=response["ETag"])
    assert (again.status_code, again.content) == (304, b"")
    assert client.head("/api/v1/openapi.json").status_code == 200


def test_its_server_is_the_configured_one(client, db, settings):
    settings.ROLEGATE_URL = "https://gateway.example.com"
    assert json.loads(client.get("/api/v1/openapi.json").content)["servers"] == [{"url": "https://gateway.example.com"}]


def test_real_problems_fit_the_schema(client, db, document):
    from openapi_schema_validator import OAS31Validator

    response = client.get("/api/v1/me")
    code_of(response, 401)
    OAS31Validator(document["components"]["schemas"]["Problem"]).validate(response.json())
