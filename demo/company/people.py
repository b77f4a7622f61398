"""Three hundred people of Example Corp: the cast, and everybody else. DEMO ONLY: one password for all of them, printed on the sign-in page."""

from __future__ import annotations

import random
import re
import unicodedata
from dataclasses import dataclass, replace
from typing import Final

from demo.cast import CAST, Actor
from demo.company.accounts import TEAMS

PASSWORD: Final = "example"
HEADCOUNT: Final = 300

_FIRST: Final = """
Aaliyah Adam Aiko Akua Alejandro Amara Ana Anders Anjali Antoine Aoife Arjun Aslaug Astrid Beatriz Benedikt Bilal Birgit Björn Bogdan
Camille Carlos Chiara Chloé Chukwu Cristina Daan Daria Deepa Diego Dmitri Dorota Ebru Edgar Eero Elena Elif Emeka Emma Enzo Esra Eva
Farah Fatima Felix Fiona Florian Gabriel Georg Giulia Gökhan Hana Hannah Haruto Hassan Helena Hugo Ines Ingrid Irina Isabel Ivo Jamal
Jana Jens Jiho João Johanna Jonas José Jörg Julia Kai Karim Katarzyna Kenji Klara Kofi Laila Lars Laura Leila Lena Leon Liam Linnéa
Lucía Luka Łukasz Mads Magda Maja Marek Maria Mariam Marta Mateo Mei Mia Michał Mikkel Minh Mohamed Nadia Naoki Nia Niklas Nina Noor
Olga Omar Oskar Paolo Paula Pedro Petra Priya Rafael Ravi René Rosa Ruben Sakura Salma Samir Sara Sebastian Seo-yeon Sina Søren Stefan
Sunita Svea Tamar Tariq Tereza Theo Thiago Tomás Tuva Valeria Vera Viktor Wanjiru Wei Yara Yasmin Yuki Zeynep Zofia
"""
_LAST: Final = """
Abebe Acar Adeyemi Ahmed Almeida Andersen Arslan Bakker Banerjee Bauer Becker Bianchi Björklund Braun Brennan Castillo Chen Costa Čapek
Da-Silva Dahl Demir Diallo Dubois Eide Engel Eriksson Farah Fernández Ferrari Fischer Fofanah Fujita Gallo García Ghosh Gómez González
Graf Gupta Haddad Hakim Hansen Hartmann Hassan Hoffmann Holm Horváth Ibrahim Ito Iversen Ivanova Jansen Jensen Johansson Kaplan Kaya
Keller Kim Klein Kobayashi Koç Kovács Kowalska Kraus Krüger Kumar Lang Larsen Laurent Lehmann Li Lindqvist López Maier Marino Martin
Mendes Meyer Mikkelsen Moreau Mori Müller Mwangi Nakamura Ng Nguyen Nielsen Novák Nowak Nyström Oduya Okafor Olsen Ortiz Osei Özdemir
Park Patel Pereira Petrov Popescu Rahman Rao Reyes Ricci Richter Rossi Ruiz Sanchez Santos Sato Schmidt Schneider Schulz Sharma Silva
Singh Sokolov Sørensen Suzuki Svensson Szabó Takahashi Tanaka Torres Traoré Tran Usman Vargas Vogel Wagner Walsh Weber Wolf Wójcik
Yamamoto Yildiz Zhang Ziegler
"""

# Department -> (how many people, groups that all of them are in).
_DEPARTMENTS: Final = {
    "Engineering": (120, ("all-staff", "engineering")),
    "Data": (24, ("all-staff", "engineering")),
    "Platform": (11, ("all-staff", "engineering")),
    "Security": (9, ("all-staff", "security")),
    "Finance": (18, ("all-staff", "finance")),
    "Product": (20, ("all-staff", "product")),
    "Marketing": (22, ("all-staff", "marketing")),
    "Sales": (26, ("all-staff", "sales")),
    "Customer Support": (24, ("all-staff", "support")),
    "People": (10, ("all-staff", "people")),
    "Legal": (6, ("all-staff", "legal")),
}


@dataclass(frozen=True)
class Life:
    """One person and their ninety days. `joined`, `left`: days ago (None: before the ninety, still here).

    `before`: (days ago, groups, department) that held until then, oldest first. `busy`: 0 to 1, how likely a working day
    begins with a sign-in. `uses`: roles used on such a day, on average. `office`: whose clock and address they have.
    """

    actor: Actor
    busy: float
    uses: float
    office: str
    command_line: bool
    joined: int | None = None
    left: int | None = None
    before: tuple[tuple[int, tuple[str, ...], str], ...] = ()


def _login(name: str, taken: set[str]) -> str:
    plain = unicodedata.normalize("NFKD", name.replace("ł", "l").replace("Ł", "L").replace("ø", "o").replace("Ø", "O"))
    ascii_only = plain.encode("ascii", "ignore").decode().lower()
    login = base = re.sub(r"[^a-z]+", ".", ascii_only).strip(".")
    number = 2
    while login in taken:
        login, number = f"{base}{number}", number + 1
    taken.add(login)
    return login


def _groups(department: str, place: int, chance: random.Random) -> tuple[str, ...]:
    """What somebody of a department is in, beside what all of it are in."""
    found: list[str] = []
    if department == "Engineering":
        team = TEAMS[place % len(TEAMS)]
        found.append(f"{team}-team")
        if place % 3 == 0:
            found.append(f"{team}-oncall")
        if place % 9 == 0:
            found.append("contractors")
        if place % 13 == 0:
            found.append("release-managers")
        if place % 40 == 7:
            found.append("sre-leads")
        if place % 15 == 4:
            found.append("interns")
    elif department == "Data":
        found.append("data-engineering" if place % 2 else "data-science")
        found.append("analytics")
        if place % 6 == 0:
            found.append("aws-777788889999-DataScientist")
        if place % 5 == 0:
            found.append("data-oncall")
    elif department == "Platform":
        found.append("network-team" if place % 3 == 0 else "platform-team")
        found.append("platform-oncall")
    elif department == "Finance" and place % 3 == 0:
        found.append("finops")
    elif department in {"Product", "Marketing"} and place % 4 == 0:
        found.append("analytics")
    elif department == "Customer Support" and place % 2 == 0:
        found.append("support-tier-2")
    return tuple(found)


def _department(department: str, taken: set[str], chance: random.Random, first_number: int) -> list[Life]:
    count, common = _DEPARTMENTS[department]
    technical = department in {"Engineering", "Data", "Platform", "Security"}
    lives = []
    for place in range(count):
        name = f"{chance.choice(_FIRST.split())} {chance.choice(_LAST.split())}"
        login = _login(name, taken)
        groups = (*common, *_groups(department, place, chance))
        if "contractors" in groups or "interns" in groups:
            groups = tuple(group for group in groups if group != "all-staff")
        number = first_number + place
        actor = Actor(
            login, PASSWORD, name, f"u-{number}-{login.partition('.')[0]}", groups, department,
            mfa="contractors" not in groups and chance.random() < 0.93, shows="",
        )  # fmt: skip
        lives.append(
            Life(
                actor,
                busy=round(chance.uniform(0.45, 0.95) if technical else chance.uniform(0.02, 0.3), 2),
                uses=round(chance.uniform(0.4, 2.2) if technical else chance.uniform(0.2, 0.9), 2),
                office=chance.choices(("Berlin", "London", "New York", "Tokyo", "home"), (40, 18, 18, 9, 15))[0],
                command_line=technical and chance.random() < 0.55,
            )
        )
    return lives


def _with_changes(lives: list[Life], chance: random.Random) -> list[Life]:
    """Some joined, some left, some moved: what ninety days do to three hundred people."""
    movable = [place for place, life in enumerate(lives) if life.actor.department == "Engineering"]
    chance.shuffle(movable)
    for place in movable[:14]:
        lives[place] = replace(lives[place], joined=chance.randint(6, 80))
    for place in movable[14:21]:
        lives[place] = replace(lives[place], left=chance.randint(3, 70))
    for place in movable[21:39]:
        groups = lives[place].actor.groups
        own = next((group for group in groups if group.endswith("-team")), "")
        other = chance.choice([f"{team}-team" for team in TEAMS if f"{team}-team" != own])
        earlier = tuple(other if group == own else group for group in groups if not group.endswith("-oncall"))
        lives[place] = replace(lives[place], before=((chance.randint(8, 75), earlier, "Engineering"),))
    finance = [place for place, life in enumerate(lives) if "finops" in life.actor.groups]
    for place in finance[:2]:
        lives[place] = replace(lives[place], before=((chance.randint(20, 60), ("all-staff", "finance"), "Finance"),))
    return lives


def _cast_lives() -> list[Life]:
    busy = {
        "alice": 0.95,
        "bob": 0.7,
        "carol": 0.9,
        "dave": 0.8,
        "erin": 0.2,
        "frank": 0.9,
        "grace": 0.5,
        "olivia": 0.1,
    }
    lives = []
    for actor in CAST.values():
        before: tuple[tuple[int, tuple[str, ...], str], ...] = ()
        if actor.login == "alice":
            before = ((41, ("engineering", "payments-team"), "Engineering"),)
        lives.append(
            Life(
                actor,
                busy.get(actor.login, 0.6),
                1.6,
                "Berlin",
                actor.login in {"alice", "carol", "dave", "frank"},
                before=before,
            )
        )
    return lives


def lives() -> list[Life]:
    """Everybody, the cast first; the same each time."""
    chance = random.Random("people of Example Corp")
    taken = set(CAST)
    found: list[Life] = []
    for place, department in enumerate(_DEPARTMENTS):
        found += _department(department, taken, chance, 2000 + 200 * place)
    found = found[: HEADCOUNT - len(CAST)]
    return [*_cast_lives(), *_with_changes(found, chance)]


def everybody() -> dict[str, Actor]:
    """login -> who can sign in today, the cast first."""
    return {life.actor.login: life.actor for life in lives() if life.left is None}
