"""What a generator's fallback returned was dropped, and what its consumer sent or threw did not reach it."""

from resilience import command


def instead():
    sent = yield 1
    try:
        yield sent
    except KeyError:
        yield "handled"
    return "result"


def through(fn):
    def outer():
        result = yield from fn()
        yield result

    return outer()


def test_a_fallback_generator_stands_in_for_the_generator(registry):
    @command(key="k", registry=registry, timeout=None, fallback=instead)
    def rows():
        raise OSError
        yield

    generator = through(rows)

    assert 1 == next(generator)
    assert "sent" == generator.send("sent")
    assert "handled" == generator.throw(KeyError("x"))
    assert "result" == next(generator)
    counts = rows.resilience.snapshot().counts
    assert (1, 3) == (counts["fallback_success"], counts["fallback_emit"])


def test_a_fallback_may_answer_with_a_plain_list(registry):
    @command(key="k", registry=registry, timeout=None, fallback=lambda: [1, 2])
    def rows():
        raise OSError
        yield

    assert [1, 2] == list(rows())
    generator = rows()
    next(generator)
    generator.close()
    assert 1 == rows.resilience.snapshot().counts["cancelled"]
