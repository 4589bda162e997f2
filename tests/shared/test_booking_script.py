"""The script in a real redis-server does what is said of it in Python, in random histories."""

import asyncio
import random

from resilience.shared.booking_script import BOOK
from resilience.shared.connection import _run
from resilience.shared.redis_client import StoreAddress
from resilience.shared.store import Script

from .memory_store import Server

#: The time is told, in place of the server's.
TIMED = Script(BOOK.text.replace("redis.call('TIME')", "redis.call('GET', 'time')").replace(
    "time[1] + time[2] / 1000000", "tonumber(time)"))


def numbers(line):
    return [float(word) for word in line.split()]


def questions(rng):
    """A question of one of three instances about one of two keys; as an honest instance would ask, or nearly."""
    interval, burst = rng.choice([(0.1, 10.0), (0.001, 500.0), (2.0, 3.0)])
    while True:
        spent = rng.choice([0.0, rng.random() * 3])
        yield (f"key{rng.randrange(2)}", f"i{rng.randrange(3)}",
               " ".join(map(repr, [
                   *((interval, burst) if rng.random() < 0.97 else (interval * 2, burst * 3)),
                   rng.choice([0.0, 1.5]), 5.5, rng.choice([1, 1, 1, 0]), spent, rng.choice([0.0, rng.random() * 2]),
                   rng.choice([0.0, 0.0, 2.0, -3.0]), rng.choice([0.0, 3.0]), rng.randrange(20), rng.choice([0.0, 5.0, 1000.0]),
                   rng.choice([1e-9, 1.0]), *(rng.choice([0.5, 1.0, 7.0, 20.0]) for _ in range(rng.randrange(4)))])))


def test_the_server_answers_as_the_model_does(redis):
    async def scenario():
        client = StoreAddress(url=redis.url).client(name="test", connect_s=5.0)
        for seed in range(15):
            rng, at = random.Random(seed), [0.0]
            await client.flushall()
            server, ask = Server(lambda at=at: at[0]), questions(rng)
            for _ in range(60):
                at[0] += rng.choice([0.0, 0.01, 0.3, 4.0, -0.2])
                if rng.random() < 0.02:
                    server.wipe()
                    await client.flushall()
                key, instance, line = next(ask)
                known = rng.choice([server.epoch, server.epoch, "another:0"])
                await client.mset({"time": repr(server.now()), "epoch": server.epoch})
                wanted = server.run(["epoch", key], [instance, known, line])
                (said,) = await _run(client, TIMED, ["epoch", key], [instance, known, line])
                assert len(numbers(said)) == len(numbers(wanted[0]))
                for mine, model in zip(numbers(said), numbers(wanted[0]), strict=True):
                    assert abs(mine - model) <= 1e-5 + 1e-6 * abs(model), (seed, line, said, wanted)
                ttl_s = await client.pttl(key) / 1000
                assert abs(ttl_s - (server.keys[key]["expires"] - server.now())) < 5, "keys end by themselves"
                server.keys[key]["expires"] = float("inf")
                await client.persist(key)
        await client.aclose()

    asyncio.run(scenario())


def test_what_somebody_else_has_written_to_a_key_fails_no_question_about_other_keys(redis):
    async def scenario():
        client = StoreAddress(url=redis.url).client(name="test", connect_s=5.0)
        await client.mset({"epoch": "e:0", "text": "x"})
        await client.hset("junk", mapping=dict.fromkeys("tvsib", "x") | {"i0": "x", "i1": "1:x"})
        line = "0.1 10.0 0.0 5.0 1 0.0 0.0 0.0 0.0 0 0.0 1.0 1.0"
        for _ in range(2):
            answers = await _run(client, BOOK, ["epoch", "text", "junk", "good"], ["i0", "e:0", line, line, line])
            assert [numbers(each)[-1] for each in answers] == [0.0] * 3
        await client.aclose()

    asyncio.run(scenario())
