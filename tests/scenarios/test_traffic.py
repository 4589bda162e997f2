"""Many callers at once while an operator turns every knob: nothing is lost, counted twice or torn."""

import asyncio
import threading

from resilience import BadRequestError, BulkheadFullError, CircuitBreaker, CircuitOpenError, Registry, command

THREADS, CALLS = 6, 400


def check(handle, answers, calls):
    totals = dict(zip(handle.snapshot().counts, handle._runtime.recorder.totals()[0], strict=True))
    assert calls == sum(answers.values())
    assert answers["ok"] == totals["success"]
    assert answers["fallback"] == totals["fallback_success"]
    assert answers["bad"] == totals["bad_request"]
    ran = totals["success"] + totals["failure"] + totals["bad_request"]
    refused = totals["short_circuited"] + totals["semaphore_rejected"] + totals["thread_pool_rejected"]
    assert calls == ran + refused
    assert answers["fallback"] + answers["refused"] == totals["failure"] + refused
    assert totals["exceptions_thrown"] == (totals["bad_request"] + totals["fallback_failure"]
                                           + totals["fallback_rejection"] + totals["fallback_missing"])
    assert 0 == handle.snapshot().in_flight


def work(i):
    if i % 7 == 0:
        raise OSError
    if i % 11 == 0:
        raise BadRequestError
    return "ok"


def knobs(handle):
    """What an operator may do, over and over."""
    while True:
        for change in ({"max_concurrent": 2}, {"max_concurrent": None}, {"breaker": None}, {"max_concurrent": 50},
                       {"breaker": CircuitBreaker(min_calls=5, window_calls=20, open_for=0.0001)},
                       {"breaker": CircuitBreaker(min_calls=5, open_for=0.0001)}):
            handle.configure(**change)
            yield
        for act in (handle.force_open, handle.force_closed, handle.release):
            act()
            yield


def run_threads(isolation):
    registry = Registry()
    answers = dict.fromkeys(("ok", "fallback", "bad", "refused"), 0)
    lock = threading.Lock()

    @command(key="k", registry=registry, isolation=isolation, timeout=None, max_concurrent=50,
             breaker=CircuitBreaker(min_calls=5, open_for=0.0001), fallback=lambda i: "fallback")
    def call(i):
        return work(i)

    def caller(first):
        for i in range(first, first + CALLS):
            try:
                answer = call(i)
            except BadRequestError:
                answer = "bad"
            except (BulkheadFullError, CircuitOpenError):
                answer = "refused"
            except Exception as error:
                answer = "refused" if "fallbacks" in str(error) else "unexpected"
            with lock:
                answers[answer] += 1

    threads = [threading.Thread(target=caller, args=(n * CALLS,)) for n in range(THREADS)]
    turn = knobs(call.resilience)
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        next(turn)
        snapshot = call.resilience.snapshot()
        assert snapshot.in_flight >= 0
    for thread in threads:
        thread.join()
    turn.close()
    registry.close()
    check(call.resilience, answers, THREADS * CALLS)


def test_threads_and_an_operator():
    run_threads("semaphore")


def test_threads_on_worker_threads_and_an_operator():
    run_threads("thread")


def test_tasks_of_which_some_are_cancelled_and_an_operator(registry):
    answers = dict.fromkeys(("ok", "fallback", "bad", "refused", "cancelled"), 0)

    @command(key="k", registry=registry, timeout=60.0, max_concurrent=50,
             breaker=CircuitBreaker(min_calls=5, open_for=0.0001), fallback=lambda i: "fallback")
    async def call(i):
        for _ in range(i % 4):
            await asyncio.sleep(0)
        return work(i)

    async def one(i):
        try:
            answers[await call(i)] += 1
        except BadRequestError:
            answers["bad"] += 1
        except asyncio.CancelledError:
            answers["cancelled"] += 1

    async def main():
        turn = knobs(call.resilience)
        for batch in range(60):
            tasks = [asyncio.create_task(one(batch * 20 + i)) for i in range(20)]
            for _ in range(batch % 4):
                await asyncio.sleep(0)
                next(turn)
            for task in tasks[:: 3]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert 0 == call.resilience.snapshot().in_flight

    asyncio.run(main())
    totals = dict(zip(call.resilience.snapshot().counts, call.resilience._runtime.recorder.totals()[0], strict=True))
    assert (answers["ok"], answers["bad"], answers["fallback"]) == (
        totals["success"], totals["bad_request"], totals["fallback_success"])
    assert answers["cancelled"] == totals["cancelled"]
    assert answers["cancelled"] > 0
