"""Changes the library in small ways, one at a time, and asks of each whether some test notices.

    python -m tests.mutants [--every N] [--seconds S] [--again] resilience/core/circuit.py ...

Without files: all of ``resilience/core`` and what compiles wrappers. Which tests ought to
notice stands in tests.toml, which survivors change nothing in equivalent.toml. What was found is kept in
build/mutants.json, so that a run goes on where one was ended; a survivor is tried again
when a test has changed, a killed one when its module has, all with ``--again``.

The tests are collected once. Each mutant has a fork of that process, where the code of the changed
function is put in the place of the old one; of the tests that reach the function, it runs until one fails.
What is no function's body (a constant, a default, a class attribute) is reached by all tests of the table: it
is changed before the library is imported, in a process of its own, and they all run; that is slower. So is what
survives in a function that has done work by the time the tests are collected.
"""

from __future__ import annotations

import argparse
import ast
import fnmatch
import gc
import hashlib
import importlib.machinery
import importlib.util
import json
import math
import os
import resource
import signal
import sys
import threading
import time
import tomllib
import types
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

from tests.mutants.mutations import Mutation, mutations

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
RESULTS = ROOT / "build" / "mutants.json"
ENGINE = ("template", "compiler", "compiled_text", "kit", "wrapper_spec", "emitter", "fragments")
MEMORY = 4 << 30  # bytes that a mutant may take
SURVIVED = "survived"
EARLY = "survived, but its function ran before the tests"
SLOWER = 3  # times the usual seconds of the processor a mutant may take, and two more; then it counts as noticed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("files", nargs="*")
    parser.add_argument("--every", type=int, default=1, help="only each n-th mutant")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no mutant after so many")
    parser.add_argument("--patience", type=float, default=float("inf"),
                        help="give a mutant only the quickest of its tests that take so many seconds together")
    parser.add_argument("--again", action="store_true", help="forget what was found before")
    parser.add_argument("--show", action="store_true", help="run nothing, tell what was found before")
    options = parser.parse_args()
    os.chdir(ROOT)
    sys.dont_write_bytecode = True
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    equivalent = tomllib.loads((HERE / "equivalent.toml").read_text())
    end = time.monotonic() + options.seconds
    left = 0
    for file in options.files or _all_files():
        name = file if file.startswith("resilience/") else f"resilience/{file}"
        module = Module(name, equivalent.get(name, {}))
        found = {} if options.again else module.still_true(results.get(name, {}))
        results[name] = {"source": module.digest, "tests": module.tests_digest, "mutants": found}
        if not options.show:
            for key, verdict in module.run(found, options.every, end, options.patience):
                found[key] = verdict
                _write(results)
                print(f"{'.' if verdict.startswith('killed') else key + ': ' + verdict}", flush=True,
                      end="" if verdict.startswith("killed") else "\n")
        left += module.tell(found)
        _write(results)
    return 1 if left else 0


def _all_files() -> list[str]:
    core = sorted(str(path) for path in Path("resilience/core").glob("*.py") if path.name != "__init__.py")
    return core + [f"resilience/engine/{name}.py" for name in ENGINE]


def _write(results: dict[str, Any]) -> None:
    RESULTS.parent.mkdir(exist_ok=True)
    new = RESULTS.with_suffix(f".{os.getpid()}")
    new.write_text(json.dumps(results, indent=1))
    new.replace(RESULTS)


class Module:
    """One file, its mutants and its tests."""

    def __init__(self, name: str, equivalent: dict[str, str]) -> None:
        self.name, self.equivalent = name, equivalent
        self.source = Path(name).read_text()
        self.mutants = mutations(ast.parse(self.source))
        self.tests = _tests_of(name)
        self.digest = _digest([Path(name)])
        files = [path for test in self.tests for path in ([Path(test)] if test.endswith(".py") else Path(test).rglob("*.py"))]
        self.tests_digest = _digest(files)
        self.usual = RESULTS.with_name(f"mutants-{Path(name).stem}-{self.digest}-{self.tests_digest}.json")

    def still_true(self, before: dict[str, Any]) -> dict[str, str]:
        """Of what was found before, what is not outdated."""
        if before.get("source") != self.digest:
            return {}
        same = before["tests"] == self.tests_digest
        return {key: verdict for key, verdict in before["mutants"].items() if same or verdict.startswith("killed")}

    def run(self, found: dict[str, str], every: int, end: float, patience: float) -> Iterator[tuple[str, str]]:
        """Try those that are not known; which mutant, and what became of it."""
        wanted = [(at, mutant) for at, mutant in enumerate(self.mutants)
                  if at % every == 0 and mutant.key not in found and mutant.key not in self.equivalent]
        slow = {mutant.key for _, mutant in wanted if mutant.function is None}
        if wanted:
            quick = [pair for pair in wanted if pair[1].key not in slow]
            for key, verdict in _stream(lambda tell: _collect(self.tests, Warm(self, quick, end, patience, tell))):
                if verdict == EARLY:
                    slow.add(key)
                else:
                    yield key, verdict
        for at, mutant in wanted:
            if mutant.key in slow and time.monotonic() < end:
                usual = json.loads(self.usual.read_text())
                chosen = _quickest(sorted(set(usual["took"]) - set(usual["failed"]), key=usual["took"].get), usual["took"], patience)
                limit = 20 + SLOWER * sum(map(usual["took"].get, chosen))
                left_out = [test for test in usual["took"] if test not in chosen]
                yield mutant.key, _in_fork(lambda at=at, left_out=left_out, limit=limit:
                                           self._import_and_run(at, left_out, limit), 10 * limit)

    def code(self, at: int) -> types.CodeType:
        """The module with its *at*-th mutation, compiled."""
        tree = ast.parse(self.source)
        if at >= 0:
            mutations(tree)[at].apply()
        return compile(ast.fix_missing_locations(tree), str(ROOT / self.name), "exec", dont_inherit=True)

    def _import_and_run(self, at: int, left_out: list[str], limit: float) -> str:
        _limit(limit)
        sys.meta_path.insert(0, _Finder(self.name.removesuffix(".py").replace("/", "."), self.code(at)))
        outcome = _FirstFailure()
        status = pytest.main([*self.tests, *PYTEST, "-x", *(f"--deselect={test}" for test in left_out),
                              "--assert=plain"], plugins=[outcome])  # else pytest imports the library, a plugin of its own, itself
        return SURVIVED if status == 0 else f"killed: {outcome.failed or 'on import'}"

    def tell(self, found: dict[str, str]) -> int:
        """Print what there is to say; the number of survivors that nobody has explained."""
        lines = {mutant.key: mutant.line for mutant in self.mutants}
        killed = sum(verdict.startswith("killed") for verdict in found.values())
        left = [key for key, verdict in found.items() if not verdict.startswith("killed")]
        explained = len(self.equivalent)
        print(f"\n{self.name}: {len(self.mutants)} mutants, {killed} killed, {explained} change nothing, {len(left)} survived, "
              f"{len(self.mutants) - killed - explained - len(left)} not tried")
        for key in left:
            print(f"  {self.name}:{lines.get(key)}: {key}")
        for key in self.equivalent.keys() - lines:
            print(f"  equivalent.toml names what there is no more: {key}")
        return len(left)


def _tests_of(name: str) -> list[str]:
    table = tomllib.loads((HERE / "tests.toml").read_text())
    row = next(row for pattern, row in table.items() if fnmatch.fnmatch(name, pattern))
    row = table[row["like"]] if "like" in row else row
    tests: dict[str, None] = {}
    for pattern in row["tests"]:
        matches = sorted(str(path) for path in Path().glob(pattern))
        if not matches:
            raise SystemExit(f"tests.toml: no file is like {pattern}")
        tests.update(dict.fromkeys(path for path in matches if "hammer" not in path))
    return list(tests)


def _digest(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


PYTEST = ["-q", "--no-header", "--no-summary", "-p", "no:faulthandler"]


def _collect(tests: list[str], plugin: object) -> None:
    status = pytest.main([*tests, *PYTEST], plugins=[plugin])
    if status != 0:
        raise SystemExit(f"the tests cannot be collected: {status}")


class _FirstFailure:
    failed = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid


class _Finder:
    """Imports one module from code that was made of a changed source."""

    def __init__(self, name: str, code: types.CodeType) -> None:
        self._name, self._code = name, code

    def find_spec(self, name: str, path: object = None, target: object = None) -> Any:
        if name != self._name:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)  # type: ignore[arg-type]
        assert spec is not None
        spec.loader.get_code = lambda name: self._code  # type: ignore[union-attr]
        return spec


class Warm:
    """A plugin of pytest that runs mutants instead of tests, each in a fork of the process that has collected."""

    def __init__(self, module: Module, mutants: list[tuple[int, Mutation]], end: float, patience: float,
                 tell: Callable[[str, str], None]) -> None:
        self._module, self._mutants, self._end, self._tell = module, mutants, end, tell
        self._file = str(ROOT / module.name)
        self._patience = patience
        self._items: list[pytest.Item] = []
        self._there: dict[tuple[str, int], list[types.FunctionType]] = {}
        self._outer = dict(_outermost(module.code(-1)))
        self._seen: set[tuple[str, int]] = set()
        sys.setprofile(self._profile)

    def _profile(self, frame: types.FrameType, event: str, arg: object) -> None:
        if event == "call" and frame.f_code.co_filename == self._file:
            self._seen.add((frame.f_code.co_qualname, frame.f_code.co_firstlineno))

    def _reached(self) -> set[tuple[str, int]]:
        """The outermost functions of the module that have run since it was asked last."""
        reached = {self._outer[key] for key in list(self._seen) if key in self._outer}
        self._seen.clear()
        return reached

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        sys.setprofile(None)
        self._items, early = session.items, self._reached()
        usual = self._usual()
        reach = {tuple(json.loads(key)): tests for key, tests in usual["reach"].items()}
        took, bad = usual["took"], set(usual["failed"])
        self._there = self._functions()
        gc.freeze()
        rank = {test: at for at, test in enumerate(self._module.tests)}  # those named first are the likeliest to notice
        last = ""
        for at, mutant in self._mutants:
            if time.monotonic() >= self._end:
                break
            name, line = mutant.function  # type: ignore[misc]
            tests = sorted((test for test in reach.get((name, line), ()) if test not in bad),
                           key=lambda test: took[test] * (1 + rank.get(test.partition("::")[0], 0)))
            if last in tests:
                tests.remove(last)
                tests.insert(0, last)
            tests = _quickest(tests, took, self._patience)
            limit = 2 + SLOWER * sum(took[test] for test in tests)
            verdict = _in_fork(lambda at=at, tests=tests, limit=limit: self._try(at, tests, limit), 10 * limit) if tests else SURVIVED
            if verdict == SURVIVED and (name, line) in early:
                verdict = EARLY
            if verdict.startswith("killed: "):
                last = verdict.removeprefix("killed: ")
            self._tell(mutant.key, verdict)
        return True

    def _usual(self) -> dict[str, Any]:
        kept = self._module.usual
        if not kept.exists():
            kept.parent.mkdir(exist_ok=True)
            kept.write_text(_in_fork(self._baseline, 3600.0))
        usual: dict[str, Any] = json.loads(kept.read_text())
        return usual

    def _baseline(self) -> str:
        """Run all tests once: how long each takes, which functions of the module it reaches, which fail."""
        reach, took, failed = defaultdict(set), {}, []
        for item in self._items:
            self._reached()
            threading.setprofile(self._profile)
            sys.setprofile(self._profile)
            begun = time.process_time()
            fine = _passes(item, None)
            sys.setprofile(None)
            took[item.nodeid] = time.process_time() - begun
            if not fine:
                failed.append(item.nodeid)
            for key in self._reached():
                reach[json.dumps(key)].add(item.nodeid)
        if failed:
            sys.stderr.write(f"these fail without a change, and are left out: {failed}\n")
        return json.dumps({"reach": {key: sorted(tests) for key, tests in reach.items()}, "took": took, "failed": failed})

    def _try(self, at: int, tests: list[str], limit: float) -> str:
        _limit(limit)
        self._put(self._module.code(at))
        by_name = {item.nodeid: item for item in self._items}
        for test in tests:
            if not _passes(by_name[test], None):
                return f"killed: {test}"
        return SURVIVED

    def _functions(self) -> dict[tuple[str, int], list[types.FunctionType]]:
        """Those of the module that there are now."""
        file, found = str(ROOT / self._module.name), defaultdict(list)
        for function in gc.get_objects():
            if isinstance(function, types.FunctionType) and function.__code__.co_filename == file:
                found[function.__code__.co_qualname, function.__code__.co_firstlineno].append(function)
        return found

    def _put(self, changed: types.CodeType) -> None:
        """Give each function of the module the code it has in *changed*."""
        for code in _codes(changed):
            for function in self._there.get((code.co_qualname, code.co_firstlineno), ()):
                if code != function.__code__:
                    function.__code__ = code


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield const
            yield from _codes(const)


def _outermost(code: types.CodeType, outer: tuple[str, int] | None = None) -> Iterator[tuple[tuple[str, int], tuple[str, int]]]:
    """Of each function (and lambda, comprehension) within *code*, the outermost function that it is in."""
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            key = const.co_qualname, const.co_firstlineno
            mine = outer
            if mine is None and const.co_flags & 1:  # optimized: a function's, and no class's
                mine = key
            if mine is not None:
                yield key, mine
            yield from _outermost(const, mine)


def _quickest(tests: list[str], took: dict[str, float], patience: float) -> list[str]:
    """The first of *tests* that take so many seconds together."""
    return [test for test, total in zip(tests, accumulate(took[test] for test in tests), strict=True) if total <= patience]


def _limit(seconds: float) -> None:
    """Let this process take no more seconds of the processor than these."""
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(seconds),) * 2)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def _passes(item: pytest.Item, after: pytest.Item | None) -> bool:
    return not any(report.failed for report in runtestprotocol(item, log=False, nextitem=after))


def _in_fork(work: Callable[[], str], limit: float) -> str:
    """What *work* returns, in a child; or how the child ended without."""
    out, into = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(out)
            os.setsid()
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            silence = os.open(os.devnull, os.O_WRONLY)
            if not os.environ.get("MUTANTS_DEBUG"):
                os.dup2(silence, 1)
                os.dup2(silence, 2)
            answer = work()
        except BaseException as error:  # a mutant may do anything
            answer = f"killed: {error!r}"
        with os.fdopen(into, "w") as stream:
            stream.write(answer)
        os._exit(0)
    os.close(into)
    signal.signal(signal.SIGALRM, lambda *_: os.killpg(child, signal.SIGKILL))
    signal.setitimer(signal.ITIMER_REAL, limit)
    with os.fdopen(out) as stream:
        answer = stream.read()
    os.waitpid(child, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)
    return answer or "killed: took too long, or ended the process"


def _stream(work: Callable[[Callable[[str, str], None]], None]) -> Iterator[tuple[str, str]]:
    """What *work* tells, from a child: so this process never imports the library."""
    out, into = os.pipe()
    child = os.fork()
    if not child:
        os.close(out)
        with os.fdopen(into, "w", buffering=1) as stream:
            try:
                work(lambda key, verdict: stream.write(json.dumps([key, verdict]) + "\n") and None)
            except BaseException as error:
                sys.stderr.write(f"{error!r}\n")
        os._exit(0)
    os.close(into)
    with os.fdopen(out) as stream:
        for line in stream:
            yield tuple(json.loads(line))
    os.waitpid(child, 0)


if __name__ == "__main__":
    sys.exit(main())
