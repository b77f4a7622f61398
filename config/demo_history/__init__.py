"""Ninety days of a made-up company, written into an empty gateway. DEMO ONLY: installed in the demo's and the tests' settings alone.

Owns what is made up on the gateway's side: who signed in when, which of their roles they used. What the company itself is
(people, groups, accounts, mapping documents) comes in one JSON document from `demo`, which this package never imports. The
mapping in force at the time decides what each person could use, and everything is written by the audit log's own writer,
in order, so that `audit verify` holds. Never for a gateway that has ever been used: the events of the past would be lies.
"""
