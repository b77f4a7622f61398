"""moto behind the strict STS: it makes the credentials, keeps IAM and S3, and is what the credentials then work with."""

from __future__ import annotations

import http.client
import json
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer

from demo.aws.registry import Role
from demo.serving import LOOPBACK, reserve

REGIONS = {"aws": "us-east-1", "aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1"}
HOP_BY_HOP = frozenset({"connection", "keep-alive", "te", "trailers", "transfer-encoding", "upgrade", "content-length"})
TIMEOUT_SECONDS = 60
_CONFIG = Config(retries={"max_attempts": 1}, connect_timeout=5, read_timeout=30)


@dataclass(frozen=True)
class MotoCredentials:
    """Credentials that moto knows, and who they are."""

    access_key_id: str
    secret_access_key: str
    session_token: str
    assumed_role_id: str
    assumed_role_arn: str


class MotoBackend:
    """A ThreadedMotoServer bound to loopback. Only the strict STS in front of it may be reached by anyone else."""

    def __init__(self, port: int = 0) -> None:
        if port:
            reserve(port).close()  # moto would wait for ever on a port in use; this raises PortInUse
        self._server = ThreadedMotoServer(ip_address=LOOPBACK, port=port, verbose=False)
        self._sts: dict[str, Any] = {}
        self._clients: dict[tuple[str, str, str], Any] = {}
        self._session = boto3.session.Session()
        self._lock = (
            threading.Lock()
        )  # a boto3 Session may not make clients in two threads at once; clients themselves are safe

    def start(self) -> None:
        self._server.start()
        self.port = self._server.get_host_and_port()[1]
        self.url = f"http://{LOOPBACK}:{self.port}"

    def stop(self) -> None:
        self._server.stop()

    def _make(self, service: str, region: str, **keys: str) -> Any:
        with self._lock:
            return self._session.client(service, region_name=region, endpoint_url=self.url, config=_CONFIG, **keys)

    def assume(self, role_arn: str, session_name: str, seconds: int) -> MotoCredentials:
        """Credentials for a session of a role, unconditionally: every check was made before."""
        partition = role_arn.split(":")[1]
        if partition not in self._sts:
            self._sts[partition] = self._make(
                "sts",
                REGIONS[partition],
                aws_access_key_id="demo",
                aws_secret_access_key="demo",
            )
        answer = self._sts[partition].assume_role(
            RoleArn=role_arn, RoleSessionName=session_name, DurationSeconds=seconds
        )
        keys, who = answer["Credentials"], answer["AssumedRoleUser"]
        return MotoCredentials(
            keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], who["AssumedRoleId"], who["Arn"]
        )

    def client(self, service: str, account: str, partition: str = "aws", region: str = "") -> Any:
        """A boto3 client that sets things up inside an account, past the strict STS."""
        place = (service, account, region or REGIONS[partition])
        if place in self._clients:
            return self._clients[place]
        keys = self.assume(f"arn:{partition}:iam::{account}:role/demo-setup", "demo-setup", 3600)
        made = self._make(
            service,
            place[2],
            aws_access_key_id=keys.access_key_id,
            aws_secret_access_key=keys.secret_access_key,
            aws_session_token=keys.session_token,
        )
        return self._clients.setdefault(place, made)

    def mirror_role(self, role: Role) -> None:
        """Let moto's IAM list the role too; an existing one gets the new trust policy."""
        iam = self.client("iam", role.account, role.arn.split(":")[1])
        path = "/" + role.arn.partition(":role/")[2].removesuffix(role.name)
        document = json.dumps(role.trust_policy)
        try:
            iam.create_role(
                Path=path,
                RoleName=role.name,
                AssumeRolePolicyDocument=document,
                MaxSessionDuration=role.max_session_duration,
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "EntityAlreadyExists":
                raise
            iam.update_assume_role_policy(RoleName=role.name, PolicyDocument=document)
            iam.update_role(RoleName=role.name, MaxSessionDuration=role.max_session_duration)

    def forget_role(self, role: Role) -> None:
        """Let moto's IAM forget the role too."""
        iam = self.client("iam", role.account, role.arn.split(":")[1])
        with suppress(iam.exceptions.NoSuchEntityException):
            iam.delete_role(RoleName=role.name)

    def find_role(self, account: str, name: str, partition: str) -> dict[str, Any] | None:
        """The role as moto's IAM has it now, or None."""
        iam = self.client("iam", account, partition)
        try:
            return dict(iam.get_role(RoleName=name)["Role"])
        except iam.exceptions.NoSuchEntityException:
            return None

    def make_bucket(self, account: str, name: str, region: str, files: dict[str, bytes]) -> None:
        """A bucket with some objects in an account; harmless when it is there already."""
        s3 = self.client("s3", account, region=region)
        place = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        try:
            s3.create_bucket(Bucket=name, **place)
        except ClientError as error:
            if error.response["Error"]["Code"] not in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
                raise
        for key, body in files.items():
            s3.put_object(Bucket=name, Key=key, Body=body)

    def forward(
        self, method: str, target: str, headers: list[tuple[str, str]], body: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """The request as it came, Host included (its signature covers it), sent on to moto."""
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=TIMEOUT_SECONDS)
        try:
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            for name, value in headers:
                if name.lower() not in HOP_BY_HOP:
                    connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            content = answer.read()
            kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in HOP_BY_HOP]
            if method == "HEAD":
                kept += [
                    ("Content-Length", value) for name, value in answer.getheaders() if name.lower() == "content-length"
                ]
            return answer.status, kept, content
        finally:
            connection.close()
