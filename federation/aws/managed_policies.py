"""What AWS's own policies mean, each in one plain line: their text is not in the account, and their names say little. Pure.

Source: "AWS managed policies for job functions" (IAM User Guide) and the AWS Managed Policy Reference Guide. AWS changes these
policies now and then, and rather adds to them: a line says what a policy is for, not every action in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from federation.said import say

_MEANINGS: Final[Mapping[str, str]] = {
    "AdministratorAccess": say("Everything in every service, and who may do what."),
    "PowerUserAccess": say("Everything in every service, but for who may do what: no users, groups or roles, no organization."),
    "ReadOnlyAccess": say("Reads every service, and what is stored there too: files, tables, messages."),
    "ViewOnlyAccess": say("Lists what there is in every service, and not what is stored there."),
    "SecurityAudit": say("Reads how every service is set up, for audits, and not what is stored there."),
    "Billing": say("Sees bills, budgets and payment methods, and changes them."),
    "AWSBillingReadOnlyAccess": say("Sees bills, budgets and payment methods, and changes nothing."),
    "SupportUser": say("Opens and follows cases with AWS Support, and reads what is needed to find a fault in most services."),
    "AWSSupportAccess": say("Opens and follows cases with AWS Support."),
    "SystemAdministrator": say("Runs what applications and their development need: machines, databases, queues, functions, logs."),
    "NetworkAdministrator": say("Sets up and changes networks: VPCs, routes, firewalls, load balancers, DNS, links to other networks."),
    "DatabaseAdministrator": say("Sets up and changes databases: RDS, DynamoDB, ElastiCache, Redshift, and their backups and alarms."),
    "DataScientist": say("Runs analyses over large amounts of data: EMR, Redshift, SageMaker, Kinesis, and the files they read."),
    "IAMFullAccess": say("Changes who may do what, and so can give itself everything."),
    "IAMReadOnlyAccess": say("Sees who may do what, and changes nothing."),
    "IAMUserChangePassword": say("Changes its own password."),
    "AWSOrganizationsReadOnlyAccess": say("Sees the organization's accounts, units and policies, and changes nothing."),
    "AWSOrganizationsFullAccess": say("Changes the organization: accounts, units, and the policies that bound them."),
}  # fmt: skip
NAMED: Final = re.compile(r"(?:Amazon|AWS)?(?P<service>[A-Za-z0-9]+?)_?(?P<level>ReadOnly|Full)Access\Z")


def meaning(name: str) -> str:
    """The line for the policy of AWS with this name; "" where its name says all that is known here."""
    if name in _MEANINGS:
        return _MEANINGS[name]
    named = NAMED.match(name)
    if named is None:
        return ""
    if named["level"] == "Full":
        return say("Everything in {service}.", service=named["service"])
    return say("Reads {service}, and changes nothing.", service=named["service"])
