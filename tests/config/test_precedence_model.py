"""Random layers against a plain oracle: for each setting the strongest that speaks has its way."""

from __future__ import annotations

import random

import attrs

from resilience import CircuitBreaker, Registry, command
from resilience.config import configure
from tests.seeds import over_seeds

VALUES = {
    "timeout": [0.5, 2, 3.5, 1.0],
    "max_concurrent": [1, 10, 25, 99],
    "failure_rate": [0.1, 0.5, 0.9],
    "open_for": [1.0, 5.0, 60],
    "open_jitter": [0.0, 0.25],
    "half_open_for": [3.0, 30.0],
}
BREAKER = ("failure_rate", "open_for", "open_jitter", "half_open_for")
DEFAULTS = {"timeout": 1.0, "max_concurrent": 10, "breaker": True,
            **{name: getattr(CircuitBreaker(), name) for name in BREAKER}}


def table(rng):
    """A table as a file has it; "breaker" may be false."""
    said = {name: rng.choice([*VALUES[name], *([False] if name in ("timeout", "max_concurrent") else [])])
            for name in ("timeout", "max_concurrent") if rng.random() < 0.4}
    if rng.random() < 0.6:
        said["breaker"] = False if rng.random() < 0.2 else {
            name: rng.choice(VALUES[name]) for name in BREAKER if rng.random() < 0.4}
    return said


def flat(said):
    """What a table says, by setting."""
    found = {name: None if value is False else value for name, value in said.items() if name != "breaker"}
    breaker = said.get("breaker")
    if breaker is not None:
        found["breaker"] = breaker is not False
        found.update(breaker or {})
    return found


def code(rng):
    """Arguments of a decorator, and what they say beyond the defaults."""
    options, said = {}, {}
    for name in ("timeout", "max_concurrent"):
        if rng.random() < 0.4:
            options[name] = rng.choice([*VALUES[name], None])
            if options[name] != DEFAULTS[name]:
                said[name] = options[name]
    if rng.random() < 0.4:
        values = {name: rng.choice(VALUES[name]) for name in BREAKER if rng.random() < 0.4}
        options["breaker"] = CircuitBreaker(**values)
        said.update({name: value for name, value in values.items() if value != DEFAULTS[name]})
        if not said.keys().isdisjoint(BREAKER):
            said["breaker"] = True
    return options, said


def oracle(*weak_to_strong):
    """Each setting from the strongest that says it."""
    found = {}
    for name in DEFAULTS:
        for layer in reversed(weak_to_strong):
            if name in layer:
                found[name] = layer[name]
                break
    breaker = CircuitBreaker(**{name: found[name] for name in BREAKER}) if found["breaker"] else None
    return found["timeout"], found["max_concurrent"], breaker


def in_force(handle):
    return handle.settings.timeout, handle.settings.max_concurrent, handle.settings.breaker


@over_seeds(40)
def test_random_layers_agree_with_the_oracle_through_reloads_declarations_and_the_end(seed):
    rng, registry = random.Random(seed), Registry()
    declared, tables, environ = {}, {}, {}

    def declare(key):
        options, said = code(rng)

        @command(key=key, group=f"g{len(declared) % 2}", registry=registry, **options)
        async def function(): ...

        declared[key] = (function, f"g{len(declared) % 2}", said)

    def say():
        tables.clear()
        tables.update(defaults=table(rng), groups={f"g{i}": table(rng) for i in range(2) if rng.random() < 0.7},
                      commands={f"k{i}": table(rng) for i in range(6) if rng.random() < 0.6})
        environ.clear()
        if rng.random() < 0.5:
            environ["RESILIENCE_CONFIG"] = f"[defaults]\ntimeout = {rng.choice(VALUES['timeout'])}\n[commands.k1]\nbreaker.open_for = 44.0"

    def compare():
        extra = ({"timeout": float(environ["RESILIENCE_CONFIG"].split()[3])}, {"breaker": True, "open_for": 44.0}) if environ else ({}, {})
        for key, (function, group, said) in declared.items():
            own = {**flat(tables["commands"].get(key, {})), **(extra[1] if key == "k1" else {})}
            wanted = oracle(DEFAULTS, {**flat(tables["defaults"]), **extra[0]}, flat(tables["groups"].get(group, {})),
                            said, own)
            assert wanted == in_force(function.resilience), (key, tables, environ, said)

    say()
    declare("k0")
    configuration = configure(tables, registry=registry, environ=environ)
    for step in range(1, 6):
        compare()
        declare(f"k{step}")
        compare()
        say()
        configuration.reload()
    compare()
    configuration.close()
    for function, _, _ in declared.values():
        assert attrs.evolve(function.resilience._internals.declared) == function.resilience.settings
    assert () == configuration.mistakes
