"""The one form of every error."""


def code_of(response, status: int) -> str:
    """The problem's code, after checking that it is a whole problem document and nothing that a cache keeps."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    assert response["Cache-Control"] == "no-store"
    body = response.json()
    assert body["status"] == status
    assert body["type"].endswith(f"/errors#{body['code']}")
    assert body["title"]
    assert body["detail"]
    assert body["request_id"] == response["X-Request-Id"]
    return body["code"]
