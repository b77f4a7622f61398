"""HTTP as the helper speaks it: the forms of an answer that are right. Those that are wrong are in test_hostile.py."""

from __future__ import annotations

import json

import pytest

from tests.cli.double import ROLE, GatewayDouble
from tests.cli.laptop import Laptop

CREDENTIALS = "/api/v1/credentials"


@pytest.mark.parametrize(
    "form", ["chunked", "chunks of seven", "until the end", "after 103", "HTTP/1.0", "bare line feeds"]
)
def test_the_forms_of_an_answer(double: GatewayDouble, laptop: Laptop, form: str) -> None:
    double.sign_in(laptop)
    body = json.dumps(double.document()).encode()
    step = 7 if form == "chunks of seven" else len(body)
    chunks = b"".join(
        b"%X;ext=1\r\n%s\r\n" % (len(part), part)
        for part in (body[place : place + step] for place in range(0, len(body), step))
    )
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n" + chunks + b"0\r\nTrailer: x\r\n\r\n"
    double.answers[CREDENTIALS] = {
        "chunked": chunked,
        "chunks of seven": chunked,
        "until the end": b"HTTP/1.1 200 OK\r\n\r\n" + body,
        "after 103": b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
        % len(body)
        + body,
        "HTTP/1.0": b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body,
        "bare line feeds": b"HTTP/1.1 200 OK\nContent-Length: %d\n\n" % len(body) + body,
    }[form]
    assert laptop.credentials(ROLE) == json.loads(body)


def test_one_connection_for_several_questions(double: GatewayDouble, laptop: Laptop) -> None:
    """The role list and then the credentials; a renewal has one of its own, because what it sends must not be sent twice."""
    double.sign_in(laptop)
    peers = set()

    def note(handler):
        peers.add(handler.client_address)

    double.answers["/api/v1/roles"] = lambda handler: (note(handler), double._usual("/api/v1/roles", b"", handler))[1]
    double.answers[CREDENTIALS] = lambda handler: (note(handler), (200, double.document()))[1]
    laptop.credentials("shop-prod/ReadOnly")
    assert len(peers) == 1
