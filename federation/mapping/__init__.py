"""The mapping: from a verified identity to the AWS roles that it may use, and why.

Owns the mapping document (`rules`, `document`), its evaluation (`engine`), its reasons (`explain`) and the names,
tags and durations of a session (`session`). Pure: no Django, no network, no clock; `now` is handed in. It must never
put a character of a group or a name into a role ARN that a role ARN cannot hold. Anyone above may call it.
"""
