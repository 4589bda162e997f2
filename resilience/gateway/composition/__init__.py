"""Composition: one route asks several services and merges their answers.

=============  ================================================================================
target         where a part's request goes: a path and query with values filled in
plan           which part may be asked when, and what became of each
merging        one answer of many, and how long it may be kept
composer       asks the services, each through its own command, and answers the client
=============  ================================================================================
"""
