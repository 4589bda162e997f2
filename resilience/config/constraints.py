"""Constraints: what a field's validator demands, in the words of JSON Schema.

A validator says so itself, by its ``json_schema``: those of core.checks do, as frozen
values whose attributes are what they demand. One that nothing is known of demands
nothing here: then the schema allows more than the loader, never less.
"""

from __future__ import annotations

from typing import Any


def constraints(validator: Any) -> dict[str, Any]:
    """The keywords for the schema of a field with this *validator*; None as a value is no concern of theirs."""
    if validator is None:
        return {}
    said = getattr(validator, "json_schema", None)
    if said is not None:
        return dict(said)
    both = getattr(validator, "_validators", ())  # attrs.validators.and_
    if both:
        return {word: limit for each in both for word, limit in constraints(each).items()}
    if hasattr(validator, "member_validator"):  # attrs.validators.deep_iterable
        return {"items": constraints(validator.member_validator)}
    if hasattr(validator, "validator"):  # attrs.validators.optional
        return constraints(validator.validator)
    return {}
