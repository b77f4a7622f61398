"""Everything that speaks to AWS or about AWS: ARNs, partitions, session policies, STS, the console.

Owns AWS's grammar and limits (`arns`, `partitions`, `policy`, `trust`: pure) and the only calls to AWS
(`sts`, `catalogue`, `organizations` through boto3, `console` through `federation.net`). Called by `flows`,
`queries` and `checks`. Must never import Django or the ORM, never decide who may have a role (that is
`mapping`), never mint (that is `issuer`), and never put a credential, assertion or token in an exception or a log.
"""
