"""What somebody else may make of a key: each type that Redis has, and text that no number is."""

MAKERS = {
    "string": ("SET", "junk"), "hash": ("HSET", "junk", "1"), "list": ("RPUSH", "junk"), "set": ("SADD", "junk"),
    "zset": ("ZADD", "1", "junk"), "stream": ("XADD", "*", "junk", "1")}
#: Where a number is expected.
NO_NUMBERS = ("", "x", "nan", "inf", "-inf", "1e300", "-1e300", "-1", "0", "1.5", "\xff")


async def make(client, key, kind):
    """Make a *key* something of this kind."""
    command, *words = MAKERS[kind]
    await client.delete(key)
    await client.execute_command(command, key, *words)


async def each_other_type(client, prefix):
    """Every key that is there, made each type that it is not, in turn."""
    keys = sorted(await client.keys(f"{prefix}*"))
    for key in keys:
        for kind in MAKERS:
            if kind.encode() != await client.type(key):
                await make(client, key, kind)
                yield key.decode(), kind
