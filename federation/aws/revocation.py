"""What ends a person's sessions at AWS before their time: a policy to attach to the roles that they used. Pure.

Source: IAM user guide, "Revoking IAM role temporary security credentials" and "Monitor and control actions taken with assumed
roles" (aws:SourceIdentity). A trust policy that is changed ends no session.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta


def deny_person(source_identity: str, *, before: datetime) -> str:
    """The policy as JSON: denies everything to sessions of this person that were made before that moment (aware).

    Without the second condition the denial would be for ever, and would meet the sessions that they are given again. It is
    rounded up to the second: AWS's own moments have no more, and a session of that very second must end too.
    """
    end = before.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1)
    document = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "EndSessionsOfOnePerson",
                "Effect": "Deny",
                "Action": "*",
                "Resource": "*",
                "Condition": {
                    "StringEquals": {"aws:SourceIdentity": source_identity},
                    "DateLessThan": {"aws:TokenIssueTime": f"{end:%Y-%m-%dT%H:%M:%SZ}"},
                },
            }
        ],
    }
    return json.dumps(document, indent=2)
