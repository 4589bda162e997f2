"""Constraints: what a field's validator demands, in the words of JSON Schema.

A validator may say so itself, by an attribute ``json_schema``. Of those made by
core.checks it is read from what they were made with. One that nothing is known of
demands nothing here: then the schema allows more than the loader, never less.
"""

from __future__ import annotations

import inspect
from typing import Any, Final

_WORDS: Final = {"above": "exclusiveMinimum", "least": "minimum", "most": "maximum"}


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
    maker = getattr(validator, "__qualname__", "").partition(".")[0]
    if maker == "text":
        return {"minLength": 1}
    if maker == "rising_shares":
        return {"minItems": 1, "uniqueItems": True, "items": {"exclusiveMinimum": 0, "exclusiveMaximum": 1}}
    if maker == "number":
        given = inspect.getclosurevars(validator).nonlocals
        return {word: given[name] for name, word in _WORDS.items() if given.get(name) is not None}
    return {}
