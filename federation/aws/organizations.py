"""The organization's accounts, read from AWS Organizations in its management (or a delegated administrator) account.

ListAccounts gives name, e-mail and state (20 a page, pages may be empty: Organizations API Reference). The units come
from walking the tree, one listing per unit and none per account; tags need one call per account.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from federation.aws.catalogue import CatalogueUnreadable, Reader, storable, tags_of, text
from federation.aws.partitions import Partition
from federation.aws.sts import Credentials

_DEEPEST = 10  # Organizations allows five levels below the root
_WALKS = 2
LONGEST_PATH, LONGEST_IDS = 1024, 512  # characters; five levels of names of 128 and of ids of 68 fit
Place = tuple[str, str]


@dataclass(frozen=True, slots=True)
class AccountRecord:
    """An account of the organization. `state`: ACTIVE, SUSPENDED, PENDING_CLOSURE …

    `organizational_unit`: names from the root down, /Workloads/Prod, "/" at the root itself; a slash in a unit's own name is
    %2F. `organizational_unit_id`: the ids on the same way, the root's first: r-ab12/ou-ab12-11111111/ou-ab12-22222222.
    """

    id: str
    name: str
    email: str
    state: str
    organizational_unit: str = "/"
    organizational_unit_id: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 over all of it, whatever the order of the tags."""
        parts = (
            self.id, self.name, self.email, self.state, self.organizational_unit, self.organizational_unit_id,
            json.dumps(dict(self.tags), sort_keys=True),
        )  # fmt: skip
        return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def list_accounts(
    credentials: Credentials, *, partition: Partition, alive: Callable[[], None] = lambda: None
) -> list[AccountRecord]:
    """Every account, by id.

    Raises CatalogueUnreadable, since a partial answer is none: as `Reader.pages`, `account_not_placed` where an account is in
    no unit (it would escape the rules of its unit), `organization_too_deep`, `unit_path_too_long`. `alive`: as in Reader.
    """
    with Reader("organizations", credentials, partition, alive) as reader:
        listed = {_id(entry): entry for page in reader.pages("list_accounts", "Accounts") for entry in page}
        placed: dict[str, Place] = {}
        for _ in range(_WALKS):  # an account that was moved meanwhile may be seen in neither unit
            for page in reader.pages("list_roots", "Roots"):
                for root in page:
                    _walk(reader, ("", text(root, "Id", "list_roots")), placed, depth=0)
            if listed.keys() <= placed.keys():
                break
        else:
            missing = sorted(listed.keys() - placed.keys())
            raise CatalogueUnreadable("account_not_placed", detail=", ".join(missing[:10]))
        return [_record(reader, account_id, listed[account_id], placed[account_id]) for account_id in sorted(listed)]


def _id(account: Mapping[str, Any]) -> str:
    account_id = text(account, "Id", "list_accounts")
    if not (account_id.isascii() and account_id.isdigit() and len(account_id) == 12):
        raise CatalogueUnreadable("list_accounts_entry_broken", detail=ascii(account_id)[:40])
    return account_id


def _record(reader: Reader, account_id: str, account: Mapping[str, Any], place: Place) -> AccountRecord:
    tags: dict[str, str] = {}
    for page in reader.pages("list_tags_for_resource", "Tags", ResourceId=account_id):
        tags.update(tags_of(page, "list_tags_for_resource"))
    # `State` replaces `Status`, which AWS takes away in September 2026; older endpoints know only that.
    known = "State" if account.get("State") else "Status"
    return AccountRecord(
        id=account_id,
        name=storable(str(account.get("Name", "")))[:128],
        email=storable(str(account.get("Email", "")))[:320],
        state=storable(text(account, known, "list_accounts"))[:32],
        organizational_unit=place[0] or "/",
        organizational_unit_id=place[1],
        tags=tags,
    )


def _walk(reader: Reader, place: Place, placed: dict[str, Place], *, depth: int) -> None:
    path, ids = place
    if depth > _DEEPEST:
        raise CatalogueUnreadable("organization_too_deep", detail=path[:200])
    unit = ids.rpartition("/")[2]
    for page in reader.pages("list_accounts_for_parent", "Accounts", ParentId=unit):
        for account in page:
            placed[text(account, "Id", "list_accounts_for_parent")] = place
    operation = "list_organizational_units_for_parent"
    for page in reader.pages(operation, "OrganizationalUnits", ParentId=unit):
        for child in page:
            # Attack: a unit called "Workloads/Prod" must not pass for the unit Prod in Workloads.
            name = storable(text(child, "Name", operation)).replace("/", "%2F")
            below = f"{path}/{name}", f"{ids}/{text(child, 'Id', operation)}"
            if len(below[0]) > LONGEST_PATH or len(below[1]) > LONGEST_IDS:
                raise CatalogueUnreadable("unit_path_too_long", detail=below[0][:200])
            _walk(reader, below, placed, depth=depth + 1)
