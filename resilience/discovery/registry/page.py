"""The page of the registry, in plain HTML. Pure.

It has applications, instances, leases, self-preservation, peers and the shared store.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any, Final
from urllib.parse import quote

from .instance_registry import InstanceRegistry
from .lease import Lease
from .moment import Moment

#: Rows; the rest is counted.
MOST_ROWS: Final = 1000
#: Names that a browser takes for a way up, however they are quoted: there is no link to them.
_DOTS: Final = frozenset((".", ".."))
_TABLE_END: Final = "</table></div>"
_STYLE: Final = """
body{font:14px/1.5 system-ui,sans-serif;margin:2rem;color:#1b1f24;background:#fff}
h1,h2,p{overflow-wrap:anywhere}
.wide{overflow-x:auto;margin:1rem 0}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.25rem .75rem;border-bottom:1px solid #d8dee4}
td{max-width:24rem;overflow-wrap:break-word}
td.n{font-variant-numeric:tabular-nums}
.warn{background:#fff3cd;padding:.5rem .75rem;border-left:4px solid #9a6700}
@media (max-width:40rem){body{margin:1rem .75rem}th,td{padding:.25rem .5rem}td{max-width:12rem}}
@media (prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}th,td{border-color:#30363d}
.warn{background:#3a2d00}a{color:#58a6ff}}
"""


def page(registry: InstanceRegistry, peers: Sequence[Mapping[str, Any]], storage: Mapping[str, Any] | None,
         now: Moment) -> bytes:
    """The page at this moment.

    Args:
        registry: Has the instances.
        peers: Reports of the other registries.
        storage: Report of the store that the list is kept in; None: there is none.
        now: The time.
    """
    return "".join(_parts(registry, peers, storage, now)).encode()


def _parts(registry: InstanceRegistry, peers: Sequence[Mapping[str, Any]], storage: Mapping[str, Any] | None,
           now: Moment) -> Iterator[str]:
    yield ('<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Service registry</title>'
           f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body><main>'
           "<h1>Service registry</h1>")
    yield from _preservation(registry, now)
    yield from _peers(registry, peers)
    yield from _storage(storage)
    yield from _applications(registry)
    yield from _instances(registry, now)
    yield "</main></body></html>\n"


def _preservation(registry: InstanceRegistry, now: Moment) -> Iterator[str]:
    state, renewals = registry.preservation, registry.renewals_last_minute(now)
    yield "<h2>Self-preservation</h2>"
    if not registry.is_complete:
        yield ('<p class="warn" data-field="complete">This registry has just started. It lists and evicts nothing '
               "before it has the instances of another registry or of the shared store, or has waited long enough.</p>")
    elif not state.enabled:
        yield "<p>It is off: leases that run out are evicted.</p>"
    elif registry.allows_eviction(now) or not len(registry):
        yield "<p>It does not interfere.</p>"
    else:
        yield ('<p class="warn" data-field="self_preservation">No lease is evicted: fewer renewals come than should. '
               "An instance below may be gone.</p>")
    yield _table("Self-preservation", "Instances expected", "Renewals in the last minute", "More must come than",
                 "Next eviction", "Leases evicted at a time")
    yield (f'<tr><td class="n">{state.expected}</td><td class="n">{renewals}</td><td class="n">{state.threshold}</td>'
           f'<td class="n">in {max(0.0, registry.next_eviction_s - now.s):.0f} s</td>'
           f'<td class="n">at most {registry.eviction_quota}</td></tr>{_TABLE_END}')


def _peers(registry: InstanceRegistry, peers: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not peers:
        return
    yield f"<h2>Peers ({len(peers)})</h2><p>This registry is {escape(registry.name)}.</p>"
    yield _table("Peers", "URL", "Registry", "State", "Circuit", "Queue", "Behind by", "Last success", "Last error")
    for each in peers:
        success, error, age_s = each["last_success_ago_s"], each["last_error"], each["last_error_ago_s"]
        name = each["registry"] or ("Eureka of another make" if each["kind"] == "eureka" else "")
        state = "it is this registry itself" if each["state"] == "itself" else each["state"]
        yield (f'<tr data-peer="{escape(each["url"])}"><td>{escape(each["url"])}</td><td>{escape(name)}</td>'
               f'<td data-field="state">{state}</td><td>{escape(each["circuit"])}</td>'
               f'<td class="n" data-field="queue">{each["queue"]}</td><td class="n">{each["lag_s"]:.0f} s</td>'
               f'<td>{"never" if success is None else f"{success:.0f} s ago"}</td>'
               f'<td>{escape(error)}{f" ({age_s:.0f} s ago)" if error else ""}</td></tr>')
    yield _TABLE_END


def _storage(storage: Mapping[str, Any] | None) -> Iterator[str]:
    if storage is None:
        return
    error, age_s = storage["last_error"] or storage["trouble"] or "", storage["last_error_ago_s"]
    state = "lost" if not storage["is_connected"] else "in sync" if storage["in_sync"] else "being compared"
    yield "<h2>Shared store</h2>"
    yield _table("Shared store", "URL", "State", "Queue", "Behind by", "Last success", "Last error")
    success = storage["last_success_ago_s"]
    place = escape(storage["place"])
    yield (f'<tr data-store="{place}"><td>{place}</td><td data-field="state">{state}</td>'
           f'<td class="n" data-field="queue">{storage["queue"]}</td><td class="n">{storage["lag_s"]:.0f} s</td>'
           f'<td>{"never" if success is None else f"{success:.0f} s ago"}</td>'
           f'<td>{escape(error)}{f" ({age_s:.0f} s ago)" if age_s is not None else ""}</td></tr>{_TABLE_END}')


def _applications(registry: InstanceRegistry) -> Iterator[str]:
    applications = registry.snapshot().applications
    yield f"<h2>Applications ({len(applications)})</h2>" + _table("Applications", "Application", "Instances")
    for name, application in itertools.islice(sorted(applications.items()), MOST_ROWS):
        counts = ", ".join(f"{count} {status}" for status, count in sorted(application.statuses.items()))
        yield f"<tr><td>{escape(name)}</td><td>{escape(counts)}</td></tr>"
    yield _TABLE_END + _rest(len(applications))


def _instances(registry: InstanceRegistry, now: Moment) -> Iterator[str]:
    yield f"<h2>Instances ({len(registry)})</h2>"
    yield _table("Instances", "Application", "Instance", "Address", "Status", "Set by an operator", "Last renewal",
                 "Lease")
    for lease in itertools.islice(registry.leases(), MOST_ROWS):
        yield _row(lease, now)
    yield _TABLE_END + _rest(len(registry))


def _row(lease: Lease, now: Moment) -> str:
    said, left_s = lease.entry.instance, lease.ends_s - now.s
    identity, parts = escape(said.id), (said.app, said.id)
    if not _DOTS.intersection(parts):
        link = "/".join(quote(part, safe="") for part in parts)
        identity = f'<a href="registry/instances/{escape(link)}">{identity}</a>'
    ends = f"{left_s:.0f} s left" if left_s > 0 else f"ran out {-left_s:.0f} s ago"
    address = f"[{said.ip_addr}]" if ":" in said.ip_addr else said.ip_addr
    port = said.port.number if said.port.enabled else said.secure_port.number
    return (f'<tr data-instance="{escape(said.id)}"><td>{escape(said.app)}</td>'
            f'<td>{identity}</td><td>{escape(f"{address}:{port}")}</td>'
            f'<td data-field="status">{said.status}</td><td>{lease.override or ""}</td>'
            f'<td>{now.s - lease.renewed_s:.0f} s ago</td><td data-field="lease">{ends}</td></tr>')


def _table(name: str, *heads: str) -> str:
    """The beginning of a table, which scrolls by itself where it is wider than the page, and by keys, too."""
    row = "".join(f'<th scope="col">{each}</th>' for each in heads)
    return f'<div class="wide" role="region" aria-label="{name}" tabindex="0"><table><tr>{row}</tr>'


def _rest(count: int) -> str:
    return f"<p>And {count - MOST_ROWS} more.</p>" if count > MOST_ROWS else ""
