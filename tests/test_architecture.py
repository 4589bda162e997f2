"""Imports point downwards, the core cannot reach the outside world, and __all__ says what there is."""

import ast
import importlib
import pathlib
import re
import subprocess
import sys
import types

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "resilience"
#: Low to high; each may import what stands below it, and itself. Layers of one line do not know each other.
LAYERS = [
    ["_version"],
    ["errors"],
    ["core"],
    ["drivers", "metrics"],
    ["engine"],
    ["policies"],
    ["commands"],
    ["registry"],
    ["decorate"],
    ["pickling"],
    ["config"],
    ["events"],
    ["__init__"],
    ["discovery", "shared"],
    ["integrations", "gateway", "asgi", "testing", "demo"],
    ["discovery.registry.server"],  # serves the registry on the gateway's front; nothing else of discovery knows that
    ["cli"],
    ["__main__"],
]
SIDE_BY_SIDE = next(names for names in LAYERS if "gateway" in names)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
#: Rooms of the gateway, low to high; each may import what stands below it, and itself. Beside them, config/ reads the
#: file into the values of all rooms, and the rooms above these say in what order a request goes through them.
GATEWAY_ROOMS = [
    ["messages", "balancing", "change"],
    ["routing", "http2"],
    ["upstream", "answers"],
    ["services"],
]
FORBIDDEN_IN_CORE = {"time", "asyncio", "random", "logging", "socket", "os", "concurrent", "datetime", "queue",
                     "subprocess", "selectors", "signal", "contextvars", "wrapt", "pathlib", "io"}
MODULES = sorted(PACKAGE.rglob("*.py"))


def imported(path):
    """(module, name or None) for every import in *path*, TYPE_CHECKING blocks and functions included."""
    package = path.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((module, alias.name) for alias in node.names)


def layer_of(module, name):
    """The layer of ours that an import reaches, or None."""
    parts = module.split(".")
    if parts[0] != PACKAGE.name:
        return None
    if len(parts) > 1:
        return layer_named([*parts[1:], *([name] if name else [])])
    return name if name is not None and ((PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").exists()) \
        else "__init__"


def layer_named(parts):
    """The layer of a module: the longest beginning of its name that has a place."""
    names = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
    return next((name for name in names if name in RANK), parts[0])


def layer_of_file(path):
    return layer_named(path.relative_to(PACKAGE).with_suffix("").parts)


def test_imports_point_downwards():
    for path, (module, name) in [(path, each) for path in MODULES for each in imported(path)]:
        mine, theirs = layer_of_file(path), layer_of(module, name)
        if theirs is None or theirs == mine:
            continue
        if mine in SIDE_BY_SIDE and theirs in SIDE_BY_SIDE:
            assert theirs != "gateway" or mine == "demo", f"only the command line and the demo may import the gateway, not {mine}"
            continue
        assert RANK[theirs] < RANK[mine], f"{path.relative_to(PACKAGE)} imports {module} {name or ''}"


def test_rooms_of_the_gateway_import_lower_ones():
    rank = {name: rank for rank, names in enumerate(GATEWAY_ROOMS) for name in names}
    for path in MODULES:
        room = path.relative_to(PACKAGE).parts[1] if path.is_relative_to(PACKAGE / "gateway") else ""
        for module, name in imported(path) if room in rank else ():
            parts = [*module.split("."), *([name] if name else [])]
            if parts[:2] != [PACKAGE.name, "gateway"] or parts[2] in ("config", room):
                continue
            assert rank.get(parts[2], len(rank)) < rank[room], f"{path.relative_to(PACKAGE)} imports {module}"


def test_the_core_knows_no_clock_no_chance_and_no_outside_world():
    for path in MODULES:
        if layer_of_file(path) != "core":
            continue
        for module, name in imported(path):
            assert module.split(".")[0] not in FORBIDDEN_IN_CORE, f"{path.name} imports {module}"
            if module == "threading":
                assert name is None, f"{path.name}: import threading, and use its Lock alone"
        used = {node.attr for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "threading"}
        assert used <= {"Lock", "RLock"}, path.name


def test_errors_import_nothing_of_ours():
    assert all(layer_of(module, name) is None for module, name in imported(PACKAGE / "errors.py"))


def test_only_the_command_line_the_demo_and_the_server_of_the_registry_import_the_gateway():
    importers = {layer_of_file(path) for path in MODULES for module, name in imported(path)
                 if layer_of(module, name) == "gateway"}

    assert importers <= {"gateway", "cli", "demo", "discovery.registry.server"}


def test_the_dashboard_imports_nothing_of_the_library():
    for path in (ROOT / "dashboard").rglob("*.py"):
        assert all(layer_of(module, name) is None for module, name in imported(path)), path


def test_only_the_drivers_and_the_registry_read_the_clock_in_the_engine():
    readers = {layer_of_file(path) for path in MODULES for module, _ in imported(path)
               if module in ("time", "datetime") and RANK[layer_of_file(path)] <= RANK["decorate"]}

    assert readers <= {"drivers", "registry", "metrics"}


def test_every_layer_has_its_place():
    assert {layer_of_file(path) for path in MODULES} <= set(RANK)


def test_the_table_of_folders_in_contributing_has_a_line_for_each_layer():
    table = [line for line in (ROOT / "CONTRIBUTING.md").read_text().splitlines() if line.startswith("| `")]
    named = {name.strip("/").removeprefix("resilience/").removesuffix(".py")
             for line in table for name in re.findall(r"`([^`]+)`", line.split("|")[1])}

    modules = {name for name in RANK if not name.startswith("_") and "." not in name}
    assert modules - {"errors"} <= named, "errors.py has the exceptions of all of them"


def public_names(module):
    return {name for name, value in vars(module).items()
            if not name.startswith("_") and not isinstance(value, types.ModuleType)}


def test_all_is_exactly_what_the_package_has_to_offer():
    import resilience

    assert sorted(resilience.__all__) == resilience.__all__
    assert len(set(resilience.__all__)) == len(resilience.__all__)
    from resilience import events

    assert set(resilience.__all__) == public_names(resilience) - (set(events.__all__) - set(resilience.__all__))
    assert {*resilience.__all__, "events"} == set(dir(resilience))
    there = "import resilience; print([name for name in dir(resilience) if not hasattr(resilience, name)])"
    assert "[]\n" == subprocess.run([sys.executable, "-c", there], capture_output=True, text=True, check=True).stdout


def test_every_all_names_what_exists():
    for path in MODULES:
        if "__all__ =" not in path.read_text():
            continue
        parts = path.relative_to(ROOT).with_suffix("").parts
        module = importlib.import_module(".".join(parts).removesuffix(".__init__"))

        assert [] == [name for name in module.__all__ if not hasattr(module, name)], path


def test_the_package_file_re_exports_and_does_nothing_else():
    body = ast.parse((PACKAGE / "__init__.py").read_text()).body

    assert all(isinstance(node, (ast.ImportFrom, ast.Assign)) or
               (isinstance(node, ast.FunctionDef) and node.name == "__dir__") or
               (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)) for node in body)


def test_every_file_opens_with_what_it_is_about():
    assert [] == [path for path in MODULES if not ast.get_docstring(ast.parse(path.read_text()))]


def test_the_engine_names_no_policy():
    """But for the timeout, which is a bound of the template's own, and the retry, its loop."""
    from resilience.policies.order import KITS

    classes = {kit.policy.__name__ for kit in KITS}
    for name in ("compiler", "kit", "site", "template", "wrapper_spec", "command_runtime"):
        tree = ast.parse((PACKAGE / "engine" / f"{name}.py").read_text())
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        assert not used & classes, name
