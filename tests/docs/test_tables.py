"""The tables of the reference say what the code says."""

import argparse
import inspect
import json
import re
import types
from ast import literal_eval

import attrs
import diagrams
import pytest
from pages import DOCS, rows, section

import resilience
from resilience import (
    Bulkhead,
    CircuitBreaker,
    Registry,
    RetryBudget,
    Settings,
    Snapshot,
    State,
    StateChanged,
    ThreadPool,
    bulkhead,
    cli,
    collapse,
    command,
)
from resilience.config import Configuration, ConfigurationApplied, ConfigurationRejected, configure
from resilience.config.commands import GuardTable, settings
from resilience.config.constraints import constraints
from resilience.config.layers import TABLES
from resilience.core.batch import Collapse
from resilience.core.histogram import LE_BOUNDS
from resilience.core.outcome import EVENT_NAMES
from resilience.core.transitions import TRANSITIONS
from resilience.discovery.registry.settings import RegistrySettings
from resilience.events import (
    CallFailed,
    CallFailedOver,
    CallFellBack,
    CallHedged,
    CallRejected,
    CallRetried,
    ChaosInjected,
    CommandAdded,
    CommandConfigured,
    CommandRemoved,
    RefreshFailed,
    ShadowRejected,
    Trigger,
)
from resilience.gateway import balancing
from resilience.gateway import config as gateway_config
from resilience.gateway.admin.application import WorkerCollector
from resilience.gateway.answers.answer_rules import AnswerRule
from resilience.gateway.balancing.health import HealthChecks
from resilience.gateway.balancing.retry_state import Repetition
from resilience.gateway.change import Change
from resilience.gateway.circuit_hints import hints_of
from resilience.gateway.client_addresses import ClientAddresses
from resilience.gateway.composition.plan import STATES
from resilience.gateway.config.registry import LISTENER_KEYS, PeerSettings, TokenSettings
from resilience.gateway.config.shared import RegistryStoreSettings, SharedCircuits, SharedSettings
from resilience.gateway.config.sources import (
    DnsSettings,
    EurekaSettings,
    FileSettings,
    KubernetesSettings,
    RedisSettings,
    SourceTable,
)
from resilience.gateway.filters.access import Access
from resilience.gateway.filters.api_keys import ApiKey, ApiKeys
from resilience.gateway.filters.client_certificate import CertificateIdentity, ClientCertificates
from resilience.gateway.filters.compress import CompressFilter
from resilience.gateway.filters.forward_auth import ForwardAuth
from resilience.gateway.filters.hmac_signature import HmacKey, HmacSignature
from resilience.gateway.filters.jwt import Jwt
from resilience.gateway.filters.rate_limit import RateLimitFilter
from resilience.gateway.format.body_filter import BodyChanges
from resilience.gateway.format.error_filter import ErrorFilter
from resilience.gateway.format.header_filter import HeaderChanges
from resilience.gateway.format.openapi_filter import OpenApiFilter
from resilience.gateway.format.schema_filter import JsonSchemaFilter
from resilience.gateway.limits.admission_control import admission_control_of
from resilience.gateway.limits.request_limit import policy_of
from resilience.gateway.limits.shared_limit import shared_limit_named
from resilience.gateway.listener_metrics import METRICS as LISTENERS
from resilience.gateway.logs.lost_lines import METRICS as LOST_LINES
from resilience.gateway.logs.request_statistics import statistics_of
from resilience.gateway.mirroring import METRICS as MIRRORS
from resilience.gateway.services import service_command
from resilience.gateway.services.sources import METRICS as SOURCES
from resilience.gateway.shared_state import connection_of
from resilience.metrics import hystrix, stream
from resilience.metrics.prometheus import Collector
from resilience.policies.fallback import FALLBACK
from resilience.policies.order import KITS
from resilience.policies.settings import live_settings
from resilience.testing import ManualClock


def documented_defaults(page, heading):
    """Name and default of each row."""
    return {row[0]: row[1] for row in rows(section(page, heading))}


def defaults(cls, *, but=()):
    """Name and default, as text, of each field of an attrs class."""
    return {field.name: default(field) for field in attrs.fields(cls) if field.name not in but}


def default(field):
    if field.default is attrs.NOTHING:
        return "needed"
    if isinstance(field.default, attrs.Factory):
        return f"{field.default.factory.__name__}()"
    if isinstance(field.default, type):
        return field.default.__name__
    return repr(field.default).replace("<class 'Exception'>", "Exception")


def page_of(policy):
    """The page of a policy: of CircuitBreaker, circuit-breaker.md."""
    return f"reference/{re.sub('(?<=[a-z])(?=[A-Z])', '-', policy.__name__).lower()}.md"


@pytest.mark.parametrize(("page", "heading", "cls", "but"), [
    *((page_of(kit.policy), "## Defaults", kit.policy, ("function",) if kit is FALLBACK else ()) for kit in KITS),
    ("reference/bulkhead.md", "## The pool of a group", ThreadPool, ()),
    ("reference/collapse.md", "## Defaults", Collapse, ()),
    ("reference/retry.md", "## The budget of a group", RetryBudget, ()),
], ids=lambda value: getattr(value, "__name__", None))
def test_the_defaults_of_a_policy_are_those_of_its_class(page, heading, cls, but):
    assert defaults(cls, but=but) == documented_defaults(page, heading)


def test_the_defaults_of_command_are_what_a_bare_command_has():
    registry = Registry(clock=ManualClock())

    @command(registry=registry)
    async def bare(): ...

    documented = documented_defaults("reference/command.md", "## Settings")
    settings = bare.resilience.settings
    assert set(inspect.signature(command).parameters) - {"fn"} == set(documented)
    assert str(settings.timeout) == documented["timeout"]
    assert str(settings.max_concurrent) == documented["max_concurrent"]
    assert CircuitBreaker() == settings.breaker
    assert settings.breaker == eval(documented["breaker"], vars(resilience))
    signature = inspect.signature(command)
    assert repr(signature.parameters["fallback"].default) == documented["fallback"]


def test_the_settings_in_force_are_all_in_their_table():
    documented = documented_defaults("reference/command.md", "## Settings in force")
    assert {field.name for field in attrs.fields(Settings)} == set(documented)


def test_the_attributes_of_a_snapshot_are_all_in_its_tables():
    fields = {field.name for field in attrs.fields(Snapshot)}
    assert fields == {row[0] for row in rows(section("reference/snapshot.md", "## Attributes"))}
    derived = {name for name, value in vars(Snapshot).items() if isinstance(value, property)}
    assert derived == {row[0] for row in rows(section("reference/snapshot.md", "## Derived"))}


def test_every_counted_event_is_in_its_table_in_order():
    assert list(EVENT_NAMES) == [row[0] for row in rows(section("reference/snapshot.md", "## Counts"))]


@pytest.mark.parametrize("event", [
    StateChanged, CallFailed, CallFailedOver, CallRejected, CallRetried, CallHedged, CallFellBack, ShadowRejected,
    ChaosInjected, CommandAdded, CommandRemoved, CommandConfigured, RefreshFailed])
def test_the_attributes_of_an_event_are_in_its_table(event):
    table = rows(section("reference/events.md", f"## {event.__name__}"))
    assert [field.name for field in attrs.fields(event)] == [name for row in table for name in row[0].split(", ")]


def test_every_state_and_trigger_is_in_the_breakers_tables():
    table = [row[0] for row in rows(section("reference/circuit-breaker.md", "## States"))]
    assert [*(state.value for state in State), *(trigger.value for trigger in Trigger)] == table


def test_every_error_is_in_the_table_of_errors():
    errors = {name for name in resilience.__all__ if name.endswith("Error")}
    table = {row[0] for row in rows((DOCS / "reference/errors.md").read_text(encoding="utf-8"))}
    assert errors - {"ResilienceError", "RejectedError"} == table


@pytest.fixture
def registry():
    """A registry with one command that runs on threads, and has run and changed its state."""
    registry = Registry(clock=ManualClock())

    @command(key="stock", group="shop", registry=registry, timeout=5.0)
    def stock():
        return 7

    stock()
    stock.resilience.force_open()
    yield registry
    registry.close()


def kind_of(value):
    """A JSON value's type, as the tables name it."""
    names = {bool: "bool", int: "int", float: "float", str: "str", dict: "object", list: "array", type(None): "null"}
    return names[type(value)]


def assert_documented(heading, message):
    """The table under *heading* has the fields of *message*, in order, and their types."""
    table = rows(section("reference/streams.md", heading))
    assert list(message) == [row[0] for row in table]
    for name, kind, _ in table:
        assert kind_of(message[name]) in kind.split(" or "), name


def test_the_fields_of_our_stream_are_in_its_tables(registry):
    encoder = stream.Encoder()
    [message] = map(json.loads, encoder.messages(registry, 1_700_000_000_000))
    tables = section("reference/streams.md", "## resilience.stream")
    command_table, transition_table, removed_table = (
        tables[:(a := tables.index("A transition:"))], tables[a:(b := tables.index("When a command has left"))],
        tables[b:])
    assert list(message) == [row[0] for row in rows(command_table)]
    for name, kind, _ in rows(command_table):
        assert kind_of(message[name]) in kind.split(" or "), name
    assert list(message["transitions"][0]) == [row[0] for row in rows(transition_table)]
    registry.remove("stock")
    [removed] = map(json.loads, encoder.messages(registry, 1_700_000_000_000))
    assert list(removed) == [row[0] for row in rows(removed_table)]


def test_the_fields_of_hystrix_messages_are_in_their_tables(registry):
    single = collapse(bulkhead(10, key="stock", registry=registry)(lambda skus: skus))
    of_command, of_pool, of_collapser = map(json.loads, hystrix.Encoder().messages(registry, 1_700_000_000_000))
    assert_documented("### HystrixCollapser", of_collapser)
    assert single.__name__ in of_collapser["name"]
    assert_documented("### HystrixCommand", of_command)
    assert_documented("### HystrixThreadPool", of_pool)


def test_the_fields_of_the_config_and_utilization_streams_are_in_their_tables(registry):
    single = collapse(bulkhead(10, key="stock", registry=registry)(lambda skus: skus))
    config = json.loads(hystrix.config_message(registry))
    stock, pool = config["commands"]["stock"], config["threadpools"]["shop"]
    [(name, collapser)] = config["collapsers"].items()
    assert single.__name__ in name
    table = {row[0]: row[1].split(", ") for row in rows(section("reference/streams.md", "## hystrix/config.stream"))}
    assert {"a command": list(stock), "its execution": list(stock["execution"]), "its metrics": list(stock["metrics"]),
            "its circuitBreaker": list(stock["circuitBreaker"]), "a thread pool": list(pool),
            "a collapser": list(collapser), "a collapser's metrics": list(collapser["metrics"])} == table
    use = json.loads(hystrix.utilization_message(registry))
    table = rows(section("reference/streams.md", "## hystrix/utilization.stream"))
    assert [["a command", ", ".join(use["commands"]["stock"])],
            ["a thread pool", ", ".join(use["threadpools"]["shop"])]] == table


def test_every_metric_is_in_the_table_with_its_type_and_labels(registry):
    single, exported = collapse(bulkhead(10, registry=registry)(lambda skus: skus)), {}
    statistics_of(registry)
    SOURCES.of(registry)
    LOST_LINES.of(registry)
    MIRRORS.of(registry).adopt(None, {})
    LISTENERS.of(registry)
    admission_control_of(registry, gateway_config.SheddingSettings(), ClientAddresses(bool))
    with Change() as change:
        settings = SharedSettings(url="redis://h", circuits=SharedCircuits())
        shared = connection_of(settings, registry, change, None, None)
        hints = hints_of(settings, shared, {}, registry, change, None)
    assert hints is not None
    shared_limit_named("l", registry, policy_of(1, 1.0), 1, shared, "share")
    deaths, fleet = types.SimpleNamespace(total=0), types.SimpleNamespace(taken=0, refused=0, foreign=0)
    supervisor = types.SimpleNamespace(restarts={1: deaths}, workers={}, reloads={"applied": 0}, fleet=fleet)
    for family in (*Collector(registry).collect(), *WorkerCollector(supervisor).collect()):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {label for sample in family.samples for label in sample.labels}
        exported[name] = family.type, (labels or set(family._labelnames)) - {"le"}
    page = (DOCS / "reference/prometheus.md").read_text(encoding="utf-8")
    table = {row[0]: (row[1], set(filter(None, row[2].split(", ")))) for row in rows(page) if len(row) == 4}
    assert single
    assert exported == table
    assert ", ".join(f"{bound:g}" for bound in LE_BOUNDS[:-1]) + f" and {LE_BOUNDS[-1]:g}" in page


def test_every_option_of_the_command_line_is_in_its_tables():
    parser = cli._parser()
    [commands] = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for name, sub in commands.choices.items():
        text = section("reference/command-line.md", f"## resilience {name}")
        table = {row[0]: row[1] for row in rows(text)}
        for action in sub._actions:
            for option in action.option_strings:
                if option not in ("-h", "--help"):
                    assert option in table, f"{name} {option}"
                    shown = "needed" if action.required else "none" if action.default is None else str(action.default)
                    assert shown == table[option]


@pytest.mark.parametrize(("heading", "cls"), [
    ("## gateway", gateway_config.GatewaySettings),
    ("## gateway.tls", gateway_config.TlsSettings),
    ("## gateway.tls.certificates", gateway_config.CertificateSettings),
    ("## admin", gateway_config.AdminSettings),
    ("## access_log", gateway_config.AccessLogSettings),
    ("## tracing", gateway_config.TracingSettings),
    ("## shedding", gateway_config.SheddingSettings),
    ("## process", gateway_config.ProcessSettings),
    ("## services.NAME", gateway_config.ServiceConfig),
    ("## services.NAME.endpoints", gateway_config.EndpointConfig),
    ("## services.NAME.source", SourceTable),
    ("## Sources: file", FileSettings),
    ("## Sources: DNS", DnsSettings),
    ("## Sources: Eureka", EurekaSettings),
    ("## Sources: Redis", RedisSettings),
    ("## Sources: Kubernetes", KubernetesSettings),
    ("## services.NAME.balancing", gateway_config.BalancingConfig),
    ("## services.NAME.ejection", balancing.Ejection),
    ("## services.NAME.retry", Repetition),
    ("## services.NAME.rules", AnswerRule),
    ("## services.NAME.checks", HealthChecks),
    ("## services.NAME.fallback", gateway_config.FallbackConfig),
    ("## routes", gateway_config.RouteConfig),
    ("## filters.NAME", gateway_config.FilterTable),
    ("## filters: json_schema", JsonSchemaFilter),
    ("## filters: openapi", OpenApiFilter),
    ("## filters: headers", HeaderChanges),
    ("## filters: json_body", BodyChanges),
    ("## filters: errors", ErrorFilter),
    ("## filters: compress", CompressFilter),
    ("## compositions.NAME", gateway_config.CompositionConfig),
    ("## compositions.NAME.parts.PART", gateway_config.PartConfig),
    ("## routes.mirror", gateway_config.MirrorConfig),
    ("## identity", gateway_config.IdentityHeaders),
    ("## filters: access", Access),
    ("## filters: api_keys", ApiKeys),
    ("## filters: client_certificate", ClientCertificates),
    ("## filters: forward_auth", ForwardAuth),
    ("## filters: hmac", HmacSignature),
    ("## filters: jwt", Jwt),
    ("## filters: rate_limit", RateLimitFilter),
    ("## shared", SharedSettings),
    ("## shared.circuits", SharedCircuits),
])
def test_the_keys_of_the_gateways_file_are_those_of_its_classes(heading, cls):
    assert_keys(section("reference/gateway-file.md", heading).partition("\n### ")[0], cls)


@pytest.mark.parametrize(("heading", "cls"), [("### registry", RegistrySettings), ("### tokens", TokenSettings),
                                              ("### shared", RegistryStoreSettings), ("### peers", PeerSettings)])
def test_the_keys_of_a_registrys_file_are_those_of_its_classes(heading, cls):
    assert_keys(section("reference/service-registry.md", heading), cls)


def test_the_keys_of_a_registrys_listener_are_all_named():
    text = section("reference/service-registry.md", "### listener")
    assert set(LISTENER_KEYS) == set(re.findall(r"`(\w+)`", text))


def assert_keys(text, cls):
    """The table in *text* has the keys of a class, with their defaults."""
    documented = {row[0]: row[1] for row in rows(text)}
    fields = [field for field in attrs.fields(cls) if field.init]
    assert {field.name for field in fields} == set(documented)
    for field in fields:
        shown = documented[field.name]
        if field.default is attrs.NOTHING:
            assert shown == "needed"
        elif isinstance(field.default, tuple):
            assert shown in ("all", "any") or list(field.default) == json.loads(shown)
        elif isinstance(field.default, (str, int, float, bool)):
            assert field.default == literal_eval(shown.capitalize() if shown in ("true", "false") else shown)


def test_the_states_of_the_parts_of_a_composition_are_all_in_their_table():
    assert [*STATES] == [row[0] for row in rows(section("reference/gateway-file.md", "## States of parts"))]


@pytest.mark.parametrize(("heading", "cls"), [
    ("### One key", ApiKey), ("### One signature key", HmacKey), ("### One certificate", CertificateIdentity)])
def test_the_keys_of_one_entry_of_a_filter_are_in_their_table(heading, cls):
    documented = documented_defaults("reference/gateway-file.md", heading)
    fields = [field for field in attrs.fields(cls) if field.init]
    assert [field.name for field in fields] == list(documented)
    assert all((field.default is attrs.NOTHING) == (documented[field.name] == "needed") for field in fields)


def test_the_filters_of_the_gateway_are_all_in_their_table():
    text = section("reference/gateway-file.md", "## Filters of the gateway")
    assert {row[0].strip("[]").partition("]")[0] for row in rows(text)} == set(gateway_config.BUILT_IN)


def test_the_settings_of_a_service_in_the_gateways_file_are_all_in_its_tables():
    text = section("reference/gateway-file.md", "## services.NAME.command")
    table, refused = text.split("These settings are rejected")
    assert set(service_command.accepted()) == {row[0] for row in rows(table)}
    assert set(service_command.REFUSED) == {name for row in rows(refused) for name in row[0].split(", ")}
    for row in rows(table):
        if row[0] in ("timeout", "max_concurrent"):
            usual = {"timeout": 1.0, **service_command.USUAL}[row[0]]
            assert row[1] == (f"{{ max_concurrent = {usual.max_concurrent}, max_wait = {usual.max_wait} }}"
                              if isinstance(usual, Bulkhead) else str(usual))


def test_every_balancer_of_the_gateway_is_in_its_table():
    table = {name for row in rows(section("reference/gateway-file.md", "## Balancers")) for name in row[0].split(", ")}
    assert set(balancing.BALANCERS) == table


CONFIGURATION = "reference/configuration-file.md"


def test_the_tables_of_the_configuration_file_are_all_in_their_table():
    assert [*TABLES] == [row[0].partition(".")[0] for row in rows(section(CONFIGURATION, "## Tables"))]


def test_the_keys_of_a_command_in_a_file_are_all_in_their_table_with_their_ranges_and_what_a_file_cannot_say():
    documented = dict(rows(section(CONFIGURATION, "## The keys of a command")))
    assert set(settings()) == set(documented)
    for name, setting in settings().items():
        text = documented[name]
        if setting.policy is not None:
            unsaid = [f.name for f in attrs.fields(setting.policy) if f.init and f.name not in setting.fields]
            but_for = re.search(r", but for ([a-z_, ]+);", text)
            assert unsaid == (but_for[1].split(", ") if but_for else []), name
            page = re.search(r"\(([a-z-]+\.md)#defaults\)", text)[1]
            assert setting.policy.__name__ in (DOCS / "reference" / page).read_text(encoding="utf-8")
        else:
            said = constraints(setting.field.validator)
            assert all(f"{limit:g}" in text or str(limit) in text for limit in said.values() if not isinstance(limit, dict))
            assert all(word in text for word in said.get("items", {}).get("enum", ()))
        assert setting.optional == ("false: no" in text), name


def test_the_keys_of_an_entry_of_guards_are_all_in_their_table_with_their_defaults():
    documented = documented_defaults(CONFIGURATION, "## guards")
    assert [field.name for field in attrs.fields(GuardTable)] == list(documented)
    shown = {"key": "the target", "group": "the module", "pool": "none", "fallback": "none", "ignore": "[]",
             "raise_as": "none"}
    for field in attrs.fields(GuardTable):
        assert shown.get(field.name, json.dumps(field.default)) == documented[field.name]


def test_what_a_configuration_offers_is_all_in_its_table():
    offered = {name for name in vars(Configuration) if not name.startswith("_")}
    assert offered == {row[0].partition("(")[0] for row in rows(section(CONFIGURATION, "## The handle"))}
    written = re.search(r"`configure\((.*?)\)` returns it", section(CONFIGURATION, "## The handle"))[1]
    assert list(inspect.signature(configure).parameters) == [
        part.partition("=")[0] for part in written.split(", ") if part != "*"]


def test_the_events_of_a_configuration_are_all_in_their_table():
    table = {row[0]: re.findall(r"\w+", re.sub(r"\([^)]*\)", "", row[2])) for row in rows(section(CONFIGURATION, "## Events"))}
    assert {event.__name__: [field.name for field in attrs.fields(event)]
            for event in (ConfigurationApplied, ConfigurationRejected)} == table


@pytest.mark.parametrize(("page", "pattern"), [
    ("howto/control-a-circuit.md", r"^It changes (.*), if the command has them\.$"),
    ("reference/command.md", r"^\| `configure\(\.\.\.\)` \| change (.*) while calls go on \|$")])
def test_what_a_handle_can_change_is_listed_wherever_it_is_told(page, pattern):
    told = re.search(pattern, (DOCS / page).read_text(encoding="utf-8"), re.M)[1]
    assert set(live_settings()) == set(re.findall(r"`(\w+)`", told))


def test_the_state_diagram_shows_every_transition_of_the_table():
    svg = diagrams.state_diagram(TRANSITIONS)
    shown = {tuple(each.split(":")) for group in re.findall(r'data-transitions="([^"]*)"', svg)
             for each in group.split(" ")}
    assert {(old.value, trigger.value, new.value) for (old, trigger), new in TRANSITIONS.items()} == shown


def test_a_transition_that_the_diagram_does_not_know_is_drawn_too():
    table = types.MappingProxyType({**TRANSITIONS, (State.OPEN, Trigger.PROBES_PASSED): State.CLOSED})
    assert 'data-transitions="open:probes_passed:closed"' in diagrams.state_diagram(table)
    assert diagrams.state_diagram(table) == diagrams.state_diagram(table)
