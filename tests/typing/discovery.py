"""Discovery as users type it: checked, and never run."""

from typing import assert_type

from resilience import CircuitBreaker
from resilience.discovery import (
    Directory,
    DnsSource,
    EurekaRegistrar,
    EurekaServers,
    EurekaSource,
    FileSource,
    Instance,
    InstanceStatus,
    InstanceTarget,
    KubernetesSource,
    Listing,
    RedisRegistrar,
    RedisSource,
    Registrant,
    Registrar,
    Registration,
    Source,
)


class Inventory:
    async def listing(self) -> Listing:
        return Listing.of(["http://10.0.0.1:80", Instance(url="http://10.0.0.2:80"), {"url": "http://10.0.0.3:80"}])


SOURCES: list[Source] = [
    Inventory(), FileSource("orders.json", 1.0), DnsSource("orders", port=80), KubernetesSource("orders", port="http"),
    EurekaSource("orders", EurekaServers(["http://eureka-1/eureka"]).get), RedisSource("orders", "redis://redis-1")]
REGISTRARS: list[Registrar] = [EurekaRegistrar("http://eureka-1/eureka"), RedisRegistrar("redis://redis-1")]
orders = Directory("orders", SOURCES[0], interval=1.0)


@orders.failover(timeout=2.0, breaker=CircuitBreaker(consecutive=3))
def fetch(path: str, *, target: InstanceTarget | None = None) -> bytes:
    assert target is not None
    return f"{target.url}{path}{target.instance.zone}".encode()


@orders.failover()
async def fetch_async(path: str, *, target: InstanceTarget | None = None) -> bytes:
    return path.encode()


@orders.each(timeout=1.0)
def stock(instance: Instance, sku: str) -> int:
    return len(instance.url) + len(sku)


class Shop:
    @orders.failover()
    def price(self, sku: str, *, target: InstanceTarget | None = None) -> float:
        return float(len(sku))


async def use() -> None:
    assert_type(fetch("/a"), bytes)
    assert_type(await fetch_async("/a"), bytes)
    assert_type(stock(orders.pick(), "a"), int)
    assert_type(Shop().price("a"), float)
    assert_type(Shop.price(Shop(), "a"), float)
    print(len(fetch.resilience), [each.key for each in fetch_async.resilience], Shop.price.resilience["10.0.0.1:80"].state)
    fetch(7)  # type: ignore[arg-type]
    async with orders as entered, Registration(Registrant("orders", "10.0.0.1", 80), REGISTRARS[0]) as registration:
        assert_type(entered, Directory)
        registration.set_status(InstanceStatus.DOWN)
