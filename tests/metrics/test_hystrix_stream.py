"""hystrix.stream against the field list of Hystrix 1.5 and the required keys of the Netflix dashboard's script."""

import json
import threading

import pytest

from resilience import BadRequestError, Cache, CircuitBreaker, ThreadPool, bulkhead, collapse, command
from resilience.errors import ResilienceError
from resilience.metrics.hystrix import Encoder, config_message, utilization_message

# SerialHystrixDashboardData.java, in its order.
COMMAND_FIELDS = """
type name group currentTime isCircuitBreakerOpen errorPercentage errorCount requestCount
rollingCountBadRequests rollingCountCollapsedRequests rollingCountEmit rollingCountExceptionsThrown rollingCountFailure
rollingCountFallbackEmit rollingCountFallbackFailure rollingCountFallbackMissing rollingCountFallbackRejection
rollingCountFallbackSuccess rollingCountResponsesFromCache rollingCountSemaphoreRejected rollingCountShortCircuited
rollingCountSuccess rollingCountThreadPoolRejected rollingCountTimeout
currentConcurrentExecutionCount rollingMaxConcurrentExecutionCount
latencyExecute_mean latencyExecute latencyTotal_mean latencyTotal
propertyValue_circuitBreakerRequestVolumeThreshold propertyValue_circuitBreakerSleepWindowInMilliseconds
propertyValue_circuitBreakerErrorThresholdPercentage propertyValue_circuitBreakerForceOpen
propertyValue_circuitBreakerForceClosed propertyValue_circuitBreakerEnabled propertyValue_executionIsolationStrategy
propertyValue_executionIsolationThreadTimeoutInMilliseconds propertyValue_executionTimeoutInMilliseconds
propertyValue_executionIsolationThreadInterruptOnTimeout propertyValue_executionIsolationThreadPoolKeyOverride
propertyValue_executionIsolationSemaphoreMaxConcurrentRequests
propertyValue_fallbackIsolationSemaphoreMaxConcurrentRequests
propertyValue_metricsRollingStatisticalWindowInMilliseconds propertyValue_requestCacheEnabled
propertyValue_requestLogEnabled reportingHosts threadPool
""".split()

POOL_FIELDS = """
type name currentTime currentActiveCount currentCompletedTaskCount currentCorePoolSize currentLargestPoolSize
currentMaximumPoolSize currentPoolSize currentQueueSize currentTaskCount rollingCountThreadsExecuted
rollingMaxActiveThreads rollingCountCommandRejections propertyValue_queueSizeRejectionThreshold
propertyValue_metricsRollingStatisticalWindowInMilliseconds reportingHosts
""".split()

PERCENTILES = ["0", "25", "50", "75", "90", "95", "99", "99.5", "100"]


def messages(registry):
    return [json.loads(text) for text in Encoder().messages(registry, 1_700_000_000_000)]


def test_a_command_message_has_every_field_of_hystrix_in_its_order(registry):
    command(key="k", registry=registry, timeout=None)(len)

    (message,) = messages(registry)

    assert COMMAND_FIELDS == list(message)
    assert PERCENTILES == list(message["latencyExecute"]) == list(message["latencyTotal"])


def test_numbers_are_integers_wherever_hystrix_has_integers(registry, clock):
    @command(key="k", registry=registry, timeout=None)
    def call():
        clock.advance(0.0125)

    call()
    (message,) = messages(registry)

    for name, value in message.items():
        if isinstance(value, dict):
            assert all(type(each) is int for each in value.values()), name
        elif not isinstance(value, (str, bool)) and value is not None:
            assert type(value) is int, name
    assert 12 == message["latencyExecute"]["50"]
    assert 12 == message["latencyExecute_mean"]


def test_counts_follow_hystrix_a_request_is_neither_short_circuited_nor_bad(registry, clock):
    errors = iter([None, None, OSError, OSError, BadRequestError])

    @command(key="k", registry=registry, timeout=None, breaker=CircuitBreaker(min_calls=100))
    def call():
        error = next(errors)
        if error:
            raise error

    for _ in range(5):
        try:
            call()
        except (OSError, ResilienceError):
            pass
    call.resilience.force_open()
    for _ in range(3):
        with pytest.raises(ResilienceError):
            call()
    (message,) = messages(registry)

    assert 4 == message["requestCount"]
    assert 2 == message["errorCount"]
    assert 50 == message["errorPercentage"]
    assert 1 == message["rollingCountBadRequests"]
    assert 3 == message["rollingCountShortCircuited"]
    assert 5 == message["rollingCountFallbackMissing"]
    assert 6 == message["rollingCountExceptionsThrown"]
    assert message["isCircuitBreakerOpen"] is True
    assert message["propertyValue_circuitBreakerForceOpen"] is True


def test_the_error_percentage_is_truncated_only_on_the_wire(registry):
    """Hystrix decided by the truncated integer (facts: defect c); ours decides by the exact rate, and only shows this."""
    outcomes = iter([True] * 101 + [False] * 99 + [False])

    @command(key="k", registry=registry, timeout=None, breaker=CircuitBreaker(min_calls=200, failure_rate=0.5))
    def call():
        if not next(outcomes):
            raise OSError

    for _ in range(200):
        try:
            call()
        except OSError:
            pass
    (message,) = messages(registry)
    assert 49 == message["errorPercentage"]
    assert "closed" == call.resilience.state
    with pytest.raises(OSError):
        call()
    assert "closed" == call.resilience.state, "100 of 201 is below one half"


def test_half_open_is_open_to_hystrix(registry, clock):
    @command(key="k", registry=registry, timeout=None, breaker=CircuitBreaker(min_calls=1, open_for=5, half_open_calls=2))
    def call(fail):
        if fail:
            raise OSError

    with pytest.raises(OSError):
        call(True)
    clock.advance(5.0)
    call(False)

    assert "half_open" == call.resilience.state
    assert messages(registry)[0]["isCircuitBreakerOpen"] is True


def test_settings_are_told_in_hystrix_terms(registry):
    breaker = CircuitBreaker(failure_rate=0.29, min_calls=7, open_for=2.5)
    command(key="k", group="g", registry=registry, timeout=0.25, max_concurrent=3, breaker=breaker)(len)
    command(key="free", registry=registry, timeout=None, max_concurrent=None, breaker=None)(len)

    bound, free = messages(registry)

    assert 29 == bound["propertyValue_circuitBreakerErrorThresholdPercentage"]
    assert 7 == bound["propertyValue_circuitBreakerRequestVolumeThreshold"]
    assert 2500 == bound["propertyValue_circuitBreakerSleepWindowInMilliseconds"]
    assert "THREAD" == bound["propertyValue_executionIsolationStrategy"]
    assert 250 == bound["propertyValue_executionTimeoutInMilliseconds"]
    assert 3 == bound["propertyValue_executionIsolationSemaphoreMaxConcurrentRequests"]
    assert "g" == bound["threadPool"] == bound["group"]
    assert free["propertyValue_circuitBreakerEnabled"] is False
    assert free["isCircuitBreakerOpen"] is False
    assert 2**31 - 1 == free["propertyValue_executionIsolationSemaphoreMaxConcurrentRequests"]


def test_a_pool_is_told_of_once_it_has_done_something(registry):
    @command(key="k", group="g", registry=registry, timeout=5.0, pool=ThreadPool(size=4, max_queue=2))
    def call():
        return 1

    assert ["HystrixCommand"] == [message["type"] for message in messages(registry)]
    call()
    _, pool = messages(registry)

    assert POOL_FIELDS == list(pool)
    assert ("HystrixThreadPool", "g", 4, 1, 2) == (
        pool["type"], pool["name"], pool["currentCorePoolSize"], pool["currentCompletedTaskCount"],
        pool["propertyValue_queueSizeRejectionThreshold"])
    assert 1 == pool["rollingCountThreadsExecuted"]


@pytest.mark.parametrize("name", ['"quotes"', "<script>alert(1)</script>", "two\nlines\r\n", "x" * 500, "100 %d %(time)s",
                                  "\ud800 lone", "\x00", "\u2028"])
def test_any_name_survives_on_one_line(registry, name):
    command(key=name, group=name, registry=registry, timeout=None)(len)

    (text,) = Encoder().messages(registry, 0)

    assert text.isascii()
    assert "\n" not in text
    assert (name, name) == (json.loads(text)["name"], json.loads(text)["group"])


def test_the_template_of_a_message_follows_settings_and_state(registry):
    encoder = Encoder()
    call = command(key="k", registry=registry, timeout=None)(len)
    next(encoder.messages(registry, 0))
    call.resilience.configure(max_concurrent=77)
    call.resilience.force_closed()

    message = json.loads(next(encoder.messages(registry, 0)))

    assert 77 == message["propertyValue_executionIsolationSemaphoreMaxConcurrentRequests"]
    assert message["propertyValue_circuitBreakerForceClosed"] is True


def test_the_config_stream_reports_each_value_where_hystrix_mixed_them_up(registry):
    """Hystrix wrote isForcedClosed from forceOpen, and whole windows as bucket sizes."""
    call = command(key="k", registry=registry, timeout=None)(len)
    call.resilience.force_open()

    config = json.loads(config_message(registry))

    assert "HystrixConfig" == config["type"]
    assert {"commands", "threadpools", "collapsers"} == config.keys() - {"type"}
    assert (True, False) == tuple(
        config["commands"]["k"]["circuitBreaker"][name] for name in ("isForcedOpen", "isForcedClosed"))
    metrics = config["commands"]["k"]["metrics"]
    assert (1000, 10, 10_000, 6) == (metrics["counterBucketSizeInMilliseconds"], metrics["counterBucketCount"],
                                     metrics["percentileBucketSizeInMilliseconds"], metrics["percentileBucketCount"])


def test_the_utilization_stream_counts_what_runs(registry):
    @command(key="k", registry=registry, timeout=None)
    def call():
        return json.loads(utilization_message(registry))["commands"]["k"]["activeCount"]

    assert 1 == call()
    assert 0 == json.loads(utilization_message(registry))["commands"]["k"]["activeCount"]


def test_every_percentile_stands_under_its_own_name(registry, clock):
    """A thousand calls from 1 ms to 59 s, each longer than the one before; percentiles are within 1 %, and rounded down."""
    call = command(key="k", registry=registry, timeout=None, breaker=None)(len)
    for n in range(1, 1001):
        call.resilience._runtime.recorder.success(clock() - 3 ** (n / 100) / 1000, clock())
    (message,) = messages(registry)

    for told in (message["latencyExecute"], message["latencyTotal"]):
        for name in PERCENTILES:
            exact = 3 ** (float(name) / 10)
            assert 0.985 * exact - 1 <= told[name] <= 1.015 * exact, name
        assert len(PERCENTILES) == len(set(told.values()))
    assert 5_400 <= message["latencyExecute_mean"] == message["latencyTotal_mean"] <= 5_430


def test_the_config_stream_has_the_settings_of_a_command(registry):
    command(key="bound", group="shop", registry=registry, timeout=0.25, max_concurrent=3, cache=Cache(ttl=1.0),
            fallback=lambda: 0,
            breaker=CircuitBreaker(failure_rate=0.29, min_calls=7, open_for=2.5, window=6.0, buckets=3))(lambda: 1)
    command(key="free", group="none", registry=registry, timeout=None, max_concurrent=None, breaker=None)(lambda: 1)

    commands = json.loads(config_message(registry))["commands"]

    metrics = {"healthBucketSizeInMs": 2000, "percentileBucketSizeInMilliseconds": 10_000, "percentileBucketCount": 6,
               "percentileEnabled": True, "counterBucketSizeInMilliseconds": 1000, "counterBucketCount": 10}
    assert {
        "threadPoolKey": "shop", "groupKey": "shop",
        "execution": {
            "isolationStrategy": "THREAD", "threadPoolKeyOverride": None, "requestCacheEnabled": True,
            "requestLogEnabled": False, "timeoutEnabled": True, "fallbackEnabled": True, "timeoutInMilliseconds": 250,
            "semaphoreSize": 3, "fallbackSemaphoreSize": 10, "threadInterruptOnTimeout": False},
        "metrics": metrics,
        "circuitBreaker": {"enabled": True, "isForcedOpen": False, "isForcedClosed": False, "requestVolumeThreshold": 7,
                           "errorPercentageThreshold": 29, "sleepInMilliseconds": 2500},
    } == commands["bound"]
    assert {
        "threadPoolKey": "none", "groupKey": "none",
        "execution": {
            "isolationStrategy": "SEMAPHORE", "threadPoolKeyOverride": None, "requestCacheEnabled": False,
            "requestLogEnabled": False, "timeoutEnabled": False, "fallbackEnabled": False, "timeoutInMilliseconds": 0,
            "semaphoreSize": 2**31 - 1, "fallbackSemaphoreSize": 10, "threadInterruptOnTimeout": False},
        "metrics": {**metrics, "healthBucketSizeInMs": 0},
        "circuitBreaker": {"enabled": False, "isForcedOpen": False, "isForcedClosed": False,
                           "requestVolumeThreshold": 0, "errorPercentageThreshold": 0, "sleepInMilliseconds": 0},
    } == commands["free"]


def test_the_config_stream_has_the_settings_of_pools_and_collapsers(registry):
    command(key="k", group="queue", registry=registry, timeout=5.0, pool=ThreadPool(size=4, max_queue=2))(lambda: 1)
    command(key="l", group="none", registry=registry, timeout=5.0, pool=ThreadPool(size=3))(lambda: 1)
    single = collapse(window=0.025, max_batch=7)(bulkhead(10, key="m", registry=registry)(lambda skus: skus))

    config = json.loads(config_message(registry))

    pool = {"coreSize": 4, "maximumSize": 4, "actualMaximumSize": 4, "maxQueueSize": 2, "queueRejectionThreshold": 2,
            "keepAliveTimeInMinutes": 0, "allowMaximumSizeToDivergeFromCoreSize": False,
            "counterBucketSizeInMilliseconds": 1000, "counterBucketCount": 10}
    without = {"coreSize": 3, "maximumSize": 3, "actualMaximumSize": 3, "maxQueueSize": -1, "queueRejectionThreshold": 0}
    assert {"queue": pool, "none": {**pool, **without}} == config["threadpools"]
    [collapser] = config["collapsers"].values()
    assert (7, 25, True) == (collapser["maxRequestsInBatch"], collapser["timerDelayInMilliseconds"],
                             collapser["requestCacheEnabled"])
    assert single.__name__


def test_a_pools_message_sums_the_commands_of_its_group(registry):
    running, release = threading.Semaphore(0), threading.Event()
    pool = ThreadPool(size=3, max_queue=1)
    outcomes = {"ok": None, "bad": OSError, "mine": BadRequestError}

    def work(what):
        if what == "wait":
            running.release()
            assert release.wait(30)
        elif outcomes[what]:
            raise outcomes[what]

    calls = [command(key=key, group="g", registry=registry, timeout=60.0, pool=pool, max_concurrent=2,
                     breaker=None)(work) for key in ("a", "b")]
    elsewhere = command(key="c", group="other", registry=registry, timeout=60.0, pool=ThreadPool(size=3))(work)
    here = command(key="d", group="g", registry=registry, timeout=None)(work)
    for call in (*calls, elsewhere, here):
        for what in ("ok", "bad", "mine"):
            try:
                call(what)
            except (OSError, BadRequestError):
                pass
    threads = [threading.Thread(target=call, args=("wait",)) for call in (*calls, calls[0])]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert running.acquire(timeout=30)
    refused = 0
    for call in (calls[0], calls[0], calls[0]):
        try:
            call("ok")
        except ResilienceError:
            refused += 1
    told = {message["name"]: message for message in messages(registry) if message["type"] == "HystrixThreadPool"}["g"]
    release.set()
    for thread in threads:
        thread.join()

    assert 3 == refused == told["rollingCountCommandRejections"]
    assert 6 == told["rollingCountThreadsExecuted"] == told["currentCompletedTaskCount"]
    assert 3 == told["currentActiveCount"] == told["rollingMaxActiveThreads"] == told["currentLargestPoolSize"]
    assert 3 == told["currentCorePoolSize"] == told["currentMaximumPoolSize"] == told["currentPoolSize"]
    assert (0, 9, 1) == (told["currentQueueSize"], told["currentTaskCount"],
                         told["propertyValue_queueSizeRejectionThreshold"])
