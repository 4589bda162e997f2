"""cloudpickle, joblib and dill could not send what is guarded (jd/tenacity#147, ray-project/ray#30972, PrefectHQ/prefect#14417).

They send a function of ``__main__`` by value, with all that its closure holds: machines with locks, calls under way.
"""

import asyncio
import copy
import gc
import inspect
import pickle
import subprocess
import sys
import textwrap

import attrs
import cloudpickle
import pytest

from resilience import (
    AdaptiveLimit,
    Bulkhead,
    Cache,
    Chaos,
    CircuitBreaker,
    CircuitOpenError,
    ConfigError,
    DeadlineExceededError,
    FailureRules,
    Fallback,
    Hedge,
    NoTimeLeftError,
    Pipeline,
    RateLimit,
    Registry,
    Retry,
    RetryBudget,
    Throttle,
    Timeout,
    command,
    deadline,
    default_registry,
    handle_of,
    handles_of,
)
from resilience.testing import ManualClock

#: As a script or a notebook has them; a pickler sends them by value for their module's name.
SCRIPT = '''
import functools
from resilience import *

def plain(x):
    if x < 0: raise OSError(x)
    return x + 1

async def later(x):
    if x < 0: raise OSError(x)
    return x + 1

def each(x):
    if x < 0: raise OSError(x)
    got = yield x
    yield got

async def each_later(x):
    if x < 0: raise OSError(x)
    got = yield x
    yield got

@command(timeout=None, key="factorial")
def factorial(n):
    """The product of the numbers up to n."""
    return n * factorial(n - 1) if n else 1

def job(n):
    return factorial(n)

class Client:
    def __init__(self, n):
        self.n = n
    @retry(attempts=2, key="Client.read")
    def read(self, m=0): return self.n + m
    @classmethod
    @command(timeout=None, key="Client.make")
    def make(cls, n): return cls(n)
    @command(timeout=None, key="Client.free")
    @staticmethod
    def free(n): return n
    @circuit_breaker(key=lambda self, shard: f"shard {shard}")
    def shard(self, shard): return self.n, shard
    @fallback(lambda self: super(Client, self).__repr__ and "instead", key="Client.ill")
    def ill(self): raise OSError
    @collapse
    def many(self, ids): return {each: (self.n, each) for each in ids}
    def __call__(self, x): return self.n + x

class Sub(Client):
    @command(timeout=None, key="Sub.read")
    def read(self, m=0): return super().read(m) + 1

@collapse(window=0.0)
@command(timeout=None, key="batch")
def batch(ids): return {each: str(each) for each in ids}

@collapse(window=0.0)
async def batch_later(ids): return {each: str(each) for each in ids}

of_object = command(timeout=None, key="of object")(Client(1))
of_partial = command(timeout=None, key="of partial")(functools.partial(plain, 5))
of_method = retry(attempts=2, key="of method")(Client(7).read.__wrapped__.__get__(Client(7)))
keyed_object = command(timeout=None, key=lambda x: f"object {x}")(Client(1))
'''

CHAINS = [(), (Fallback(lambda *a: "instead"),), (Cache(ttl=5.0),), (Retry(attempts=2),), (CircuitBreaker(consecutive=2),), (FailureRules(status=500),),
          (Throttle(),), (RateLimit(5, per=1.0),), (Bulkhead(5),), (AdaptiveLimit(),), (AdaptiveLimit(max_queue=3),),
          (Timeout(60.0),), (Timeout(60.0), Hedge(idempotent=True, delay=60.0)), (Chaos(error_rate=1.0),),
          (Cache(ttl=5.0), Retry(attempts=2), CircuitBreaker(), Throttle(), RateLimit(5, per=1.0), Bulkhead(5), Timeout(60.0),
           FailureRules(status=500))]


def script():
    names = {"__name__": "__main__"}
    exec(SCRIPT, names)
    return names


@pytest.fixture(autouse=True)
def _clean_default_registry():
    before = [handle.key for handle in default_registry]
    yield
    for handle in list(default_registry):
        if handle.key not in before:
            default_registry.remove(handle.key)


def copied(value, times=1, by=cloudpickle):
    for _ in range(times):
        value = by.loads(by.dumps(value))
    return value


def ran(fn, x):
    """What *fn* returns or yields, in whatever flavour; what is sent in comes out."""
    async def all_of(items):
        return [await anext(items), await items.asend("sent"), *[item async for item in items]]

    if inspect.isasyncgenfunction(fn):
        return asyncio.run(all_of(fn(x)))
    if inspect.iscoroutinefunction(fn):
        return asyncio.run(fn(x))
    if inspect.isgeneratorfunction(fn):
        items = fn(x)
        return [next(items), items.send("sent"), *items]
    return fn(x)


@pytest.mark.parametrize("chain", CHAINS, ids=lambda chain: " ".join(type(each).__name__ for each in chain) or "none")
def test_a_copy_of_every_policy_and_flavour_works_and_counts_for_itself(chain):
    for name in ("plain", "later", "each", "each_later"):
        for options in ({"key": name}, {"key": name, "isolation": "semaphore"}, {"key": lambda x: f"key {x}"}):
            registry = Registry(clock=ManualClock(100.0))
            try:
                original = Pipeline(*chain, registry=registry, **options)(script()[name])
            except ConfigError:  # no such policy for this flavour
                continue
            wanted = [1, "sent"] if "each" in name else 2
            for times in (1, 2):
                guarded = copied(original, times)
                assert wanted == ran(guarded, 1), (name, options)
                home = guarded.__resilience_guard__.registry
                assert home is not registry
                assert 100.0 == home.clock()
                (handle,) = home
                assert (handle.settings, handle.group) == (settings_of(original), "__main__")
                assert 1 == handle.snapshot().counts["success"]
                assert handle is (guarded.resilience if "key" in options and options["key"] == name else guarded.resilience["key 1"])
                assert (guarded.__name__, inspect.signature(guarded)) == (name, inspect.signature(original))
                if chain and isinstance(chain[0], Fallback) and "each" not in name:
                    assert "instead" == ran(guarded, -1)
                elif not chain or not isinstance(chain[0], (Fallback, Cache)):
                    with pytest.raises(OSError, match="-1"):
                        ran(guarded, -1)
            assert not list(registry) or 0 == list(registry)[0].snapshot().requests


def settings_of(guarded):
    handles = guarded.resilience
    return handles.settings if hasattr(handles, "settings") else handles._keyspace.template.settings


def test_copies_share_the_command_of_their_key_as_functions_do():
    guarded = command(timeout=None, key="shared", breaker=CircuitBreaker(consecutive=2))(script()["plain"])
    sent = cloudpickle.dumps(guarded)
    guarded.resilience.configure(max_concurrent=3)
    sent_changed = cloudpickle.dumps(guarded)
    default_registry.remove("shared")
    one, two = cloudpickle.loads(sent), cloudpickle.loads(sent)
    assert one.resilience is two.resilience is default_registry["shared"] is not guarded.resilience
    for copy_ in (one, two):
        with pytest.raises(OSError, match="-1"):
            copy_(-1)
    with pytest.raises(CircuitOpenError):
        one(1)
    default_registry.remove("shared")
    assert 3 == cloudpickle.loads(sent_changed).resilience.settings.max_concurrent
    assert 2 == cloudpickle.loads(sent_changed)(1)


def test_a_hundred_copies_are_one_command_and_go_when_nobody_has_them():
    sent = cloudpickle.dumps(script()["factorial"])
    default_registry.remove("factorial")
    copies = [cloudpickle.loads(sent) for _ in range(100)]
    handle = copies[0].resilience
    assert {handle} == {each.resilience for each in copies}
    assert 100 == len(handle._internals.functions)
    del copies
    gc.collect()
    assert [] == handle._internals.functions


def test_a_copy_beside_a_command_of_other_settings_has_its_own():
    guarded = command(timeout=None, key="changed", max_concurrent=3)(script()["plain"])
    sent = cloudpickle.dumps(guarded)
    default_registry.remove("changed")
    later = command(timeout=None, key="changed", max_concurrent=4)(script()["plain"])
    alone = cloudpickle.loads(sent)
    assert 2 == alone(1)
    assert 3 == alone.resilience.settings.max_concurrent
    assert default_registry["changed"] is later.resilience
    assert (0, 1) == (later.resilience.snapshot().requests, alone.resilience.snapshot().requests)


def test_a_copy_of_lambdas_in_a_keyed_functions_settings_may_be_made_many_times():
    names = script()
    exec("keyed = retry(attempts=2, on_result=lambda result: False, key=lambda x: f'key {x}')(plain)", names)
    for guarded in [copied(names["keyed"]) for _ in range(3)]:
        assert 2 == guarded(1)


def test_a_copy_heeds_a_deadline_and_takes_a_further_decorator(registry):
    guarded = copied(command(timeout=None, key="in time", registry=registry)(script()["plain"]))
    with pytest.raises((NoTimeLeftError, DeadlineExceededError)), deadline(0.0):
        guarded(1)
    again = Pipeline(Fallback(lambda x: "instead"))(guarded)
    assert "instead" == again(-1)
    assert guarded.__wrapped__ is again.__wrapped__


def test_classes_instances_and_bound_methods_of_a_script_are_sent():
    client = copied(script()["Sub"](3), 2)
    assert (3 + 1, 3 + 2 + 1) == (client.read(), client.read(m=2))
    assert (3, "a") == client.shard("a")
    assert (3, 5) == client.many(5)
    assert "instead" == client.ill()
    assert ["shard a"] == [handle.key for handle in handles_of(client.shard)]
    assert 4 == type(client).make(4).n == client.free(4)
    assert 4 == copied(client.read)() == copied(type(client).read)(client)


@pytest.mark.parametrize(("name", "argument", "answer"), [
    ("factorial", 4, 24), ("job", 4, 24), ("batch", 5, "5"), ("of_object", 2, 3), ("of_method", 2, 9), ("keyed_object", 2, 3)])
def test_jobs_batches_and_callable_objects_are_sent(name, argument, answer):
    value = script()[name]
    assert answer == copied(value, 1)(argument) == copied(value, 2)(argument)


def test_a_partial_and_a_batch_of_coroutines_are_sent():
    names = script()
    assert 6 == copied(names["of_partial"])()
    assert "5" == asyncio.run(copied(names["batch_later"], 2)(5))
    assert "batch" == handle_of(copied(names["batch"])).key


def test_handles_and_registries_are_sent_alone():
    names = script()
    handle = handle_of(names["factorial"])
    assert handle is copied(handle)
    assert default_registry is copied(default_registry)
    keyed = copied(names["keyed_object"])
    assert keyed.resilience.key == copied(keyed.resilience).key
    mine = Registry(clock=ManualClock(7.0))
    registry, handle = copied((mine, command(timeout=None, key="mine", registry=mine)(names["plain"]).resilience))
    assert registry is not mine
    assert 7.0 == registry.clock()
    assert registry["mine"] is handle


@pytest.mark.parametrize("by", [pickle, cloudpickle], ids=lambda by: by.__name__)
def test_pipelines_policies_and_snapshots_are_sent_as_values(by):
    policies = [*{type(each): each for chain in CHAINS[2:] for each in chain}.values(), RetryBudget()]
    for policy in policies:
        again = copied(policy, by=by)
        assert again == policy or attrs.asdict(again) == attrs.asdict(policy)
    pipeline = copied(Pipeline(CircuitBreaker(), Bulkhead(3), key="sent", group="group", shadow=("breaker",)), by=by)
    guarded = pipeline(len)
    assert (3, ("breaker",), "group") == (guarded.resilience.settings.max_concurrent, guarded.resilience.settings.shadow,
                                          guarded.resilience.group)
    snapshot = guarded.resilience.snapshot()
    assert snapshot == copied(snapshot, by=by)
    assert guarded.resilience is copied(guarded.resilience, by=by)
    assert guarded([1]) == pipeline.call(len, [1]) == 1


def test_a_guarded_function_of_a_module_is_still_sent_by_its_name():
    for by in (pickle, cloudpickle):
        assert of_module is copied(of_module, by=by)
        assert of_module.resilience is copied(of_module.resilience, by=by)
        assert of_module_by_key is copied(of_module_by_key, by=by)
        assert of_module_by_key.resilience is copied(of_module_by_key.resilience, by=by)
    assert of_module is copy.deepcopy(of_module)


def test_a_module_that_is_to_be_sent_by_value_is():
    module = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(module)
    try:
        for guarded in (of_module, of_module_by_key):
            for sent in (guarded, guarded.resilience):
                again = copied(sent)
                assert 1 == again(1) if sent is guarded else again.key == sent.key
            assert guarded is not copied(guarded)
    finally:
        cloudpickle.unregister_pickle_by_value(module)


@command(timeout=None, key="of a module", registry=Registry())
def of_module(x):
    return x


@command(timeout=None, key=lambda x: f"by key {x}")
def of_module_by_key(x):
    return x


MAIN = textwrap.dedent('''
    import asyncio, multiprocessing, sys
    from joblib import Parallel, delayed

    @circuit_breaker(key=lambda n: f"key {n}")
    def by_key(n): return n + 1

    def jobs(n): return job(n), by_key(n), batch(n), Sub(n).read(), handle_of(factorial).settings.max_concurrent

    if __name__ == "__main__":
        factorial.resilience.configure(max_concurrent=77)
        print("joblib", Parallel(n_jobs=2)(delayed(jobs)(n) for n in (1, 2)))
        for method in ("spawn", "forkserver", "fork"):
            if method in multiprocessing.get_all_start_methods():
                with multiprocessing.get_context(method).Pool(1) as pool:
                    print(method, pool.map(jobs, (1, 2)))
''')

#: What dill sends by value it sends with the globals it uses only if it is told to; then it cannot send what calls itself.
WRITER = '''
import dill, sys
guarded = [Pipeline(*policies, key=key)(fn) for number, policies in enumerate([
    (Fallback(lambda *a: "instead"), Cache(ttl=5.0), Retry(attempts=2), CircuitBreaker(), Bulkhead(5), Timeout(60.0)),
    (Throttle(), RateLimit(5, per=1.0), AdaptiveLimit()), (Chaos(error_rate=1.0),)])
    for fn in (plain, later) for key in (f"{number} {fn.__name__}", lambda x: f"key {x}") if number != 1 or not callable(key)]
values = [batch, Client(1), of_object, of_method, keyed_object, *guarded]
sys.stdout.buffer.write(dill.dumps(values, recurse=True))
'''
READER = '''
import asyncio, dill, sys
values = dill.load(sys.stdin.buffer)
answers = [value(3) for value in values]
print([asyncio.run(answer) if hasattr(answer, "send") else answer for answer in answers], values[1].free(2), values[0].resilience.key)
'''


@pytest.mark.process
def test_other_processes_run_copies_with_the_settings_in_force(tmp_path):
    (tmp_path / "main.py").write_text(SCRIPT + MAIN)
    done = subprocess.run([sys.executable, "-W", "ignore", str(tmp_path / "main.py")], capture_output=True, text=True, timeout=120)
    lines = done.stdout.splitlines()
    answers = "[(1, 2, '1', 2, {}), (2, 3, '2', 3, {})]"
    for line in lines:  # multiprocessing sends by name: the others read the script again, and a fork has what was configured
        method, given = line.split(" ", 1)
        assert answers.format(*(2 * [77 if method in ("joblib", "fork") else 10])) == given
    assert len(lines) >= 2, done.stderr


@pytest.mark.process
def test_dill_sends_them_to_another_process(tmp_path):
    (tmp_path / "main.py").write_text(SCRIPT + WRITER)
    sent = subprocess.run([sys.executable, str(tmp_path / "main.py")], capture_output=True, timeout=60)
    read = subprocess.run([sys.executable, "-c", READER], input=sent.stdout, capture_output=True, timeout=60)
    assert "['3', 4, 4, 10, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4] 2 batch" == read.stdout.decode().strip(), (sent.stderr, read.stderr)
