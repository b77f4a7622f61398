"""Ports of the tests' servers: handed out once, and none that Linux gives to a connection."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.processes import PORTS, free_port

ROOT = Path(__file__).resolve().parents[1]
_ASK = "from tests.processes import free_port; print(*(free_port() for _ in range(200)))"


def test_processes_that_ask_at_once_are_given_different_ports():
    asking = [
        subprocess.Popen([sys.executable, "-c", _ASK], cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    given = [port for process in asking for port in process.communicate(timeout=60)[0].split()]
    assert len(given) == len(set(given)) == 800


def test_no_connection_can_take_one_before_its_server_does():
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert free_port() in PORTS
    assert PORTS[-1] < lowest


def test_one_that_somebody_listens_on_is_passed_over(tmp_path, monkeypatch):
    taken = free_port()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # a counter of its own, whose next port is that one
    (tmp_path / f"rolegate-test-port-{os.getuid()}").write_text(str(taken - 1))
    with socket.create_server(("127.0.0.1", taken)):
        assert free_port() > taken
