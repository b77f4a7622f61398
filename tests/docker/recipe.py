"""What docker/Dockerfile and docker/compose.yaml say, as data: enough to run their commands without an engine."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "docker" / "Dockerfile"
COMPOSE = ROOT / "docker" / "compose.yaml"


@dataclass(frozen=True)
class Instruction:
    """One instruction, its lines joined. `stage`: number of the FROM that it stands under, from 1."""

    name: str
    text: str
    stage: int


def instructions() -> list[Instruction]:
    """Every instruction of the Dockerfile in order, comments left out."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")]
    found, stage = [], 0
    for logical in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        name, _, text = logical.strip().partition(" ")
        stage += name == "FROM"
        found.append(Instruction(name, " ".join(text.split()), stage))
    return found


def of(name: str, stage: int = 0) -> list[str]:
    """The texts of all instructions of this name, of one stage where it is given."""
    return [one.text for one in instructions() if one.name == name and stage in {0, one.stage}]


def exec_form(text: str) -> list[str]:
    """The words of a CMD, also behind HEALTHCHECK's options."""
    words: list[str] = json.loads(text[text.index("[") :])
    return words


def compose() -> dict[str, Any]:
    """The compose file, anchors and merges resolved."""
    loaded: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return loaded
