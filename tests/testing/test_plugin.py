"""The pytest plugin, seen through runs of pytest in which it is loaded."""

import subprocess
import sys
from pathlib import Path

import pytest

import resilience.testing
from resilience import default_registry

pytest_plugins = "pytester"

ROOT = Path(__file__).parents[2]
PLUGIN = Path(resilience.testing.__file__).parent / "fixtures"

SHOP = """
    from resilience import CircuitBreaker, command

    @command(key="{key}", timeout=None, breaker=CircuitBreaker(min_calls=1, open_for=60.0))
    def stock(fails=False):
        if fails:
            raise OSError
        return 7
"""


@pytest.fixture
def run(pytester, monkeypatch):
    """Runs pytest on a file, in this process."""
    before = {handle.key for handle in default_registry}

    def run(source, *arguments, key="plugin.stock", usefixtures=""):
        pytester.makepyfile(**{f"shop_{key.replace('.', '_')}": SHOP.format(key=key)})
        pytester.makepyfile(source)
        pytester.makeini(f"[pytest]\nusefixtures = {usefixtures}\n")
        monkeypatch.syspath_prepend(pytester.path)
        return pytester.runpytest_inprocess("-p", "resilience.testing.fixtures", "-p", "no:asyncio",
                                            "-p", "no:cacheprovider", *arguments)

    yield run
    for handle in default_registry:
        if handle.key not in before:
            default_registry.remove(handle.key)


def test_the_registry_and_its_clock_are_isolated_and_fresh_for_each_test(run):
    result = run("""
        import pytest
        from resilience import CircuitBreaker, command, default_registry

        @pytest.mark.parametrize("rate", [0.1, 0.9])
        def test_it(resilience_registry, resilience_clock, rate):
            @command(key="mine", registry=resilience_registry, timeout=None,
                     breaker=CircuitBreaker(min_calls=1, failure_rate=rate))
            def mine():
                raise OSError

            assert resilience_registry.clock is resilience_clock
            assert resilience_clock() == 0.0
            with pytest.raises(OSError):
                mine()
            assert mine.resilience.state == "open"
            resilience_clock.advance(5.0)
            assert "mine" not in default_registry
    """)

    result.assert_outcomes(passed=2)


def test_events_of_the_isolated_registry_are_recorded(run):
    result = run("""
        from resilience import StateChanged, circuit_breaker

        def test_it(resilience_registry, resilience_events):
            @circuit_breaker(key="mine", registry=resilience_registry)
            def mine(): ...

            mine.resilience.force_open()
            assert resilience_events.one(StateChanged, mine).trigger == "forced_open"

        def test_the_next_has_its_own(resilience_events):
            assert len(resilience_events) == 0
    """)

    result.assert_outcomes(passed=2)


LEAKY = """
    import pytest
    from shop_{key} import stock

    def test_that_opens_the_circuit(request):
        stock.resilience.configure(max_concurrent=1)
        with pytest.raises(OSError):
            stock(True)
        assert stock.resilience.state == "open"

    def test_that_relies_on_a_closed_one():
        assert stock() == 7
        assert stock.resilience.settings.max_concurrent == 10
        assert stock.resilience.snapshot().requests == 1

    def test_that_forces(request):
        stock.resilience.force_open()

    def test_that_calls_again():
        assert stock() == 7
"""


def test_without_the_reset_one_test_leaks_into_the_next(run):
    result = run(LEAKY.format(key="plugin_leaks"), key="plugin.leaks")

    result.assert_outcomes(passed=2, failed=2)


def test_the_reset_can_be_used_by_all_tests_through_the_configuration(run):
    result = run(LEAKY.format(key="plugin_all"), key="plugin.all", usefixtures="resilience_reset")

    result.assert_outcomes(passed=4)


def test_the_reset_comes_also_after_a_failure_an_error_and_an_exit_of_a_test(run):
    result = run("""
        import pytest
        from shop_plugin_ends import stock

        @pytest.fixture
        def broken():
            stock.resilience.force_open()
            yield
            raise RuntimeError

        def test_fails(resilience_reset):
            stock.resilience.force_open()
            assert False

        def test_1(): assert stock() == 7

        def test_error_at_teardown(resilience_reset, broken): ...

        def test_2(): assert stock() == 7

        def test_skips(resilience_reset):
            stock.resilience.force_open()
            pytest.skip("now")

        def test_3(): assert stock() == 7
    """, key="plugin.ends")

    result.assert_outcomes(passed=4, failed=1, errors=1, skipped=1)


def test_disabled_policies_let_failing_calls_through_and_are_back_afterwards(run):
    result = run("""
        import pytest
        from shop_plugin_off import stock

        def test_off(resilience_disabled):
            for _ in range(20):
                with pytest.raises(OSError):
                    stock(True)

        def test_on():
            assert stock.resilience.settings.breaker is not None
            with pytest.raises(OSError):
                stock(True)
            assert stock.resilience.state == "open"
    """, key="plugin.off")

    result.assert_outcomes(passed=2)


def test_the_order_in_which_a_test_asks_for_reset_and_disabled_does_not_matter(run):
    result = run("""
        import pytest
        from shop_plugin_both import stock

        @pytest.mark.parametrize("names", [["resilience_reset", "resilience_disabled"],
                                           ["resilience_disabled", "resilience_reset"]])
        def test_both(request, names):
            for name in names:
                request.getfixturevalue(name)
            for _ in range(5):
                with pytest.raises(OSError):
                    stock(True)

        def test_after():
            assert (stock.resilience.state, stock.resilience.snapshot().requests) in (("closed", 0), ("closed", 5))
            assert stock.resilience.settings.breaker is not None
    """, key="plugin.both")

    result.assert_outcomes(passed=3)


def test_a_wrong_count_is_shown_at_the_line_of_the_test(run):
    result = run("""
        from resilience.testing import assert_counts
        from shop_plugin_line import stock

        def test_it(resilience_reset):
            stock()
            assert_counts(stock, success=2)
    """, key="plugin.line")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*plugin.line counted otherwise:", "*success  1, not 2", "*test_*.py:6: AssertionError"])
    result.stdout.no_fnmatch_line("*assertions.py*")


def test_parallel_runs_in_separate_processes_do_not_meet(pytester):
    pytester.makepyfile(shop=SHOP.format(key="stock"))
    path = pytester.makepyfile("""
        import pytest
        from shop import stock

        @pytest.mark.parametrize("n", range(20))
        def test_it(resilience_reset, n):
            with pytest.raises(OSError):
                stock(True)
            assert stock.resilience.snapshot().requests == 1
    """)
    runs = [subprocess.Popen([sys.executable, "-m", "pytest", "-q", "-p", "resilience.testing.fixtures", str(path)],
                             cwd=pytester.path, stdout=subprocess.PIPE, text=True,
                             env={"PYTHONPATH": f"{ROOT}:{pytester.path}", "PATH": ""}) for _ in range(2)]

    assert all("20 passed" in each.communicate(timeout=120)[0] for each in runs)


@pytest.fixture
def installed(pytester):
    """The plugin as an installation has it: under a name of its own."""
    (pytester.path / "resilience_pytest").symlink_to(PLUGIN)
    return [sys.executable, "-m", "pytest", "-q", "-p", "resilience_pytest"]


def test_a_run_that_uses_no_fixture_of_ours_does_not_even_import_the_package(pytester, installed):
    pytester.makepyfile("""
        import sys

        def test_it(request):
            assert "resilience_pytest" in sys.modules
            assert [] == [name for name in sys.modules if name.split(".")[0] == "resilience"]
            assert [] == [name for name in request.fixturenames if "resilience" in name]
    """)
    done = subprocess.run(installed, cwd=pytester.path, capture_output=True, text=True, timeout=120,
                          env={"PYTHONPATH": str(pytester.path), "PATH": "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"})

    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_the_fixtures_have_a_line_of_help_each(pytester, installed):
    done = subprocess.run([*installed, "--fixtures"], cwd=pytester.path, capture_output=True, text=True, timeout=120,
                          env={"PYTHONPATH": f"{pytester.path}:{ROOT}", "PATH": "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"})

    help_of = {line.split()[0]: text.strip() for line, text in
               zip(done.stdout.splitlines(), done.stdout.splitlines()[1:]) if line.startswith("resilience_")}
    assert {"resilience_clock", "resilience_registry", "resilience_events", "resilience_reset",
            "resilience_disabled"} == set(help_of)
    assert all(help_of.values())
