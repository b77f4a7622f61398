"""The accounts of Example Corp as AWS Organizations has them, and the roles that each of them holds."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from demo import estate

MANAGEMENT: Final = "100000000001"
HOUR: Final = 3600
# Teams with an account for each stage. The shop's three, payments-prod and data-lake are in demo/mapping.yaml by name, with ids of their own.
TEAMS: Final = ("shop", "payments", "search", "mobile", "logistics", "crm", "billing", "identity")
STAGES: Final = {
    "prod": ("Production", "production"),
    "staging": ("Staging", "staging"),
    "dev": ("Development", "development"),
}
# The account that nobody has set up for the gateway yet: the catalogue cannot be read there.
NOT_ONBOARDED: Final = "identity-dev"


@dataclass(frozen=True)
class CompanyAccount:
    """An account in the organization. `unit`: the path of its organizational unit, names joined by `/`; `team` may be empty."""

    id: str
    name: str
    unit: str
    environment: str
    team: str = ""
    cost_center: str = ""
    state: str = "ACTIVE"

    @property
    def email(self) -> str:
        return f"aws+{self.name}@example.com"

    @property
    def tags(self) -> dict[str, str]:
        found = {"environment": self.environment, "team": self.team, "cost-center": self.cost_center}
        return {key: value for key, value in found.items() if value}


@dataclass(frozen=True)
class CompanyRole:
    """A role to be made. `name` may have a path. `idle_days`: how long ago somebody other than the gateway's people used it, None for never."""

    account: str
    name: str
    trust: dict[str, Any]
    seconds: int = HOUR
    description: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    idle_days: int | None = None


def _named() -> dict[str, str]:
    """Name -> id of the accounts that the mapping document names."""
    return {account["name"]: account["id"] for account in estate.accounts()}


def accounts() -> list[CompanyAccount]:
    """Forty accounts that live and one that is closed, the management account first."""
    named = _named()
    found = [CompanyAccount(MANAGEMENT, "example-corp-management", "", "shared", "platform", "CC-1000")]

    def add(
        name: str, unit: str, environment: str, *, team: str = "", cost_center: str = "", state: str = "ACTIVE"
    ) -> None:
        number = named.get(name) or f"{200_000_000_000 + 1_234_567_891 * (len(found) + 1):012}"[:12]
        found.append(CompanyAccount(number, name, unit, environment, team, cost_center, state))

    for place, team in enumerate(TEAMS):
        for stage, (unit, environment) in STAGES.items():
            add(f"{team}-{stage}", f"Workloads/{unit}", environment, team=team, cost_center=f"CC-{2000 + 10 * place}")
    for name, environment in (
        ("data-lake", "staging"),
        ("data-warehouse", "production"),
        ("machine-learning", "development"),
    ):
        add(name, "Data", environment, team="data", cost_center="CC-3000")
    for name in ("log-archive", "security-tooling", "forensics"):
        add(name, "Security", "shared", team="security", cost_center="CC-1100")
    for name in ("network", "shared-services", "backup", "build-tools"):
        add(name, "Infrastructure", "shared", team="platform", cost_center="CC-1200")
    for name in ("playground", "sandbox-hackathon", "sandbox-interns", "sandbox-partners", "sandbox-training"):
        add(name, "Sandbox", "sandbox", cost_center="CC-9000")
    add("old-intranet", "Suspended", "shared", cost_center="CC-9900", state="SUSPENDED")
    return found


def _service_trust(service: str) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Principal": {"Service": f"{service}.amazonaws.com"}, "Action": "sts:AssumeRole"}
    return {"Version": "2012-10-17", "Statement": [statement]}


def _account_trust(account: str, **condition: Any) -> dict[str, Any]:
    statement: dict[str, Any] = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{account}:root"},
        "Action": "sts:AssumeRole",
    }
    if condition:
        statement["Condition"] = condition
    return {"Version": "2012-10-17", "Statement": [statement]}


def _github_trust(account: str, subject: str) -> dict[str, Any]:
    host = "token.actions.githubusercontent.com"
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": f"arn:aws:iam::{account}:oidc-provider/{host}"},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {f"{host}:aud": "sts.amazonaws.com"}, "StringLike": {f"{host}:sub": subject}},
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


# What people get through the gateway, beside the roles of `estate.ROLES`: role -> (longest session, description).
FOR_PEOPLE: Final = {
    "ReadOnly": (12 * HOUR, "Look at everything, change nothing"),
    "Developer": (4 * HOUR, "Work on the account's services; no IAM, no network"),
    "Deployer": (HOUR, "Release what the pipeline has built"),
    "Operator": (8 * HOUR, "On call: restart, scale, read logs"),
    "PowerUser": (12 * HOUR, "Everything but IAM"),
    "Administrator": (4 * HOUR, "Everything"),
    "SecurityAudit": (HOUR, "Read configuration for audits"),
    "IncidentResponder": (4 * HOUR, "Isolate and investigate"),
    "BillingReader": (HOUR, "Read bills and budgets"),
    "DataScientist": (4 * HOUR, "Notebooks, training jobs, the lake's curated zone"),
    "DataEngineer": (4 * HOUR, "Pipelines and tables"),
    "Analyst": (8 * HOUR, "Query the warehouse"),
    "NetworkAdministrator": (2 * HOUR, "VPCs, transit gateways, DNS"),
}
_EVERYWHERE = ("ReadOnly", "Administrator", "SecurityAudit", "IncidentResponder", "BillingReader")
_OF_KIND = {
    "Workloads": ("Developer", "Deployer", "Operator", "PowerUser"),
    "Data": ("Developer", "Operator", "DataScientist", "DataEngineer", "Analyst"),
    "Security": ("Developer", "Operator"),
    "Infrastructure": ("Developer", "Operator", "NetworkAdministrator"),
    "Sandbox": ("Developer", "PowerUser"),
    "": (),
}
_MACHINES = (
    ("api-task", "ecs-tasks"), ("worker-task", "ecs-tasks"), ("web-task", "ecs-tasks"), ("nightly-report", "lambda"),
    ("image-resizer", "lambda"), ("event-router", "lambda"), ("etl-job", "glue"), ("backup-plan", "backup"),
    ("deploy-pipeline", "codepipeline"), ("build", "codebuild"), ("node-group", "ec2"), ("state-machine", "states"),
)  # fmt: skip


def people_roles(account: CompanyAccount) -> tuple[str, ...]:
    """The roles for people in an account, those that `estate.furnish` has made already too."""
    return (*_EVERYWHERE, *_OF_KIND[account.unit.partition("/")[0]])


def roles(provider_arns: dict[str, str], issuer: str, wanted: int = 600) -> list[CompanyRole]:
    """Every role of the living accounts beside those of `estate.furnish`, so that the gateway can read `wanted` in all.

    `provider_arns`: account id -> the IAM provider that stands for the gateway there. Some trust policies are faulty on
    purpose, as they are in any company: the trust findings of the console show them.
    """
    chance = random.Random("roles of Example Corp")
    furnished = {account["id"] for account in estate.accounts()}
    living = [account for account in accounts() if account.state == "ACTIVE"]
    made: dict[tuple[str, str], CompanyRole] = {}

    def add(role: CompanyRole) -> None:
        made.setdefault((role.account, role.name.rpartition("/")[2]), role)

    for account in living:
        trust = estate.trust_policy(provider_arns[account.id], issuer)
        for name in people_roles(account):
            if account.id not in furnished or name not in estate.ROLES:
                seconds, description = FOR_PEOPLE[name]
                add(CompanyRole(account.id, name, trust, seconds, description, {"owner": account.team or "platform"}))
        add(
            CompanyRole(
                account.id, "OrganizationAccountAccessRole", _account_trust(MANAGEMENT), HOUR,
                "Made by AWS Organizations", idle_days=chance.randint(40, 800),
            )
        )  # fmt: skip
    for role in _faulty({account.name: account.id for account in living}, provider_arns, issuer):
        made[role.account, role.name.rpartition("/")[2]] = role
    closed = next(account.id for account in living if account.name == NOT_ONBOARDED)
    for role in _machines(living, chance):
        if sum(1 for account, _ in made if account != closed) + _furnished(living) >= wanted:
            break
        add(role)
    return list(made.values())


def _furnished(living: list[CompanyAccount]) -> int:
    """How many roles are there without this module: the estate's, and a reader in each account that is set up."""
    return len(estate.ROLES) * len(estate.accounts()) + sum(1 for account in living if account.name != NOT_ONBOARDED)


def _machines(living: list[CompanyAccount], chance: random.Random) -> Iterator[CompanyRole]:
    """Roles of services, round after round over the accounts: what a catalogue mostly consists of."""
    for purpose, service in _MACHINES:
        for account in living:
            prefix = account.team or account.name.partition("-")[2] or account.name
            idle = chance.choice((0, 0, 0, 1, 2, 9, 45, 200, None))
            yield CompanyRole(
                account.id, f"service/{purpose}-of-{prefix}", _service_trust(service), HOUR,
                f"Runs {purpose.replace('-', ' ')} of {prefix}", {"owner": prefix}, idle,
            )  # fmt: skip


def _faulty(ids: dict[str, str], provider_arns: dict[str, str], issuer: str) -> Iterator[CompanyRole]:
    """Trust that went wrong, one kind each."""

    def given(name: str, **changes: Any) -> dict[str, Any]:
        policy = estate.trust_policy(provider_arns[ids[name]], issuer)
        policy["Statement"][0].update(changes)
        return policy

    saml_call = "sts:AssumeRoleWithSAML"
    yield CompanyRole(
        ids["search-prod"], "Operator", given("search-prod", Action=[saml_call, "sts:SetSourceIdentity"]), 8 * HOUR,
        "On call: restart, scale, read logs", {"owner": "search"},
    )  # fmt: skip
    yield CompanyRole(
        ids["mobile-prod"], "Deployer", given("mobile-prod", Action=[saml_call, "sts:TagSession"]), HOUR,
        "Release what the pipeline has built", {"owner": "mobile"},
    )  # fmt: skip
    old = provider_arns[ids["crm-prod"]].replace("/rolegate", "/okta-2019")
    yield CompanyRole(
        ids["crm-prod"], "Operator", given("crm-prod", Principal={"Federated": old}), 8 * HOUR,
        "Still trusts the provider of the old sign-in", {"owner": "crm"},
    )  # fmt: skip
    yield CompanyRole(
        ids["logistics-prod"], "ReadOnly",
        given("logistics-prod", Condition={"StringEquals": {"SAML:aud": "https://eu-west-1.signin.aws.amazon.com/saml"}}),
        12 * HOUR, "Look at everything, change nothing", {"owner": "logistics"},
    )  # fmt: skip
    yield CompanyRole(
        ids["billing-staging"], "Developer", given("billing-staging", Condition={}), 4 * HOUR,
        "Trust without a condition on the audience", {"owner": "billing"},
    )  # fmt: skip
    yield CompanyRole(
        ids["shop-prod"], "github-deploy", _github_trust(ids["shop-prod"], "repo:*"), HOUR,
        "Deploys from GitHub Actions: any repository of anybody", {"owner": "shop"}, 0,
    )  # fmt: skip
    yield CompanyRole(
        ids["payments-prod"], "github-deploy", _github_trust(ids["payments-prod"], "repo:example-corp/payments:ref:refs/heads/main"), HOUR,
        "Deploys from GitHub Actions, from the main branch alone", {"owner": "payments"}, 0,
    )  # fmt: skip
    star = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}]}
    yield CompanyRole(
        ids["sandbox-hackathon"], "hackathon-2024", star, 12 * HOUR, "For the hackathon; delete afterwards", {}, 430
    )
    yield CompanyRole(
        ids["data-warehouse"],
        "vendor-etl",
        _account_trust("314159265358"),
        HOUR,
        "A vendor's import job",
        {"owner": "data"},
        3,
    )
    yield CompanyRole(
        ids["backup"], "vendor-backup", _account_trust("271828182845", StringEquals={"sts:ExternalId": "example-corp-42"}), HOUR,
        "A vendor's backup, with an external id", {"owner": "platform"}, 1,
    )  # fmt: skip
