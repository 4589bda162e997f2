"""Exposition: the text of a scrape, byte for byte as prometheus_client writes it of all metrics at once.

prometheus_client works out each line anew, and a command has 55. The lines of commands that have the same events and
gauges differ in key, group and values alone. So prometheus_client writes those of one of each form, with marks in the
place of what differs, and the lines of all others are that text, filled in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Final

import attrs
from prometheus_client import Metric
from prometheus_client.registry import Collector as _Collector
from prometheus_client.utils import floatToGoString

from .families import Form, empty_families, labels_of, observe, reading
from .prometheus import beside_commands
from .protocols import Sources

#: One of prometheus_client's encoders.
Encode = Callable[[_Collector], bytes]

_KEY, _GROUP = "\x01key\x01", "\x01group\x01"  # marks that no name has
#: Forms that are remembered.
_MOST: Final = 256
_number: Final = lru_cache(maxsize=4096)(floatToGoString)  # most are small counts


@attrs.frozen
class _Only(_Collector):
    """Stands for a registry that has these metrics, to an encoder."""

    metrics: tuple[Metric, ...]

    def collect(self) -> Iterator[Metric]:
        """They."""
        yield from self.metrics


@attrs.frozen
class _Lines:
    """The lines of one family that a command of a form has.

    Attributes:
        family: The name of the family.
        text: With places for key, group and value in each line.
        order: Which value each line has.
    """

    family: str
    text: str
    order: Sequence[int]

    def filled(self, key: str, group: str, values: Sequence[str]) -> bytes:
        """The lines of one command; key and group are escaped."""
        return (self.text % tuple(chain.from_iterable((key, group, values[place]) for place in self.order))).encode()


class Exposition:
    """Texts by one encoder. Safe from any thread."""

    def __init__(self, encode: Encode) -> None:
        """Nothing was written yet.

        Args:
            encode: Writes the text of all metrics.
        """
        self._encode, self._end = encode, encode(_Only(()))  # the last line of OpenMetrics
        self._known: dict[Form, tuple[_Lines, ...]] = {}

    def text(self, registry: Sources, others: Iterable[Iterable[Metric]] = ()) -> Iterator[bytes]:
        """The text of what *registry* and *others* have.

        While they are read it yields nothing but b"", after little work each; then the text, in pieces.

        Args:
            registry: Its commands, and what is exported with them.
            others: Further metrics. A family may be in several parts, with other samples each time, but without
                ``_created`` ones.
        """
        texts: dict[str, list[bytes]] = {}
        for family in empty_families().values():
            self._write(family, texts)
        for command in registry:
            form, values = reading(command)
            key, group = map(_escaped, labels_of(command))
            numbers = list(map(_number, values))
            for lines in self._lines(form, len(values)):
                texts[lines.family].append(lines.filled(key, group, numbers))
            yield b""
        for part in chain(beside_commands(registry), others):
            for family in part:
                self._write(family, texts)
            yield b""
        for known in texts.values():
            yield from known
        yield self._end

    def _write(self, family: Metric, texts: dict[str, list[bytes]]) -> None:
        """Add the lines of a *family*, with its head if that is not there."""
        known = texts.setdefault(family.name, [])
        if known and not family.samples:
            return
        text = self._encode(_Only((family,))).removesuffix(self._end)
        while known and text.startswith(b"# "):
            text = text.partition(b"\n")[2]
        known.append(text)

    def _lines(self, form: Form, count: int) -> tuple[_Lines, ...]:
        """The lines of a command of a *form*, which has so many values."""
        known = self._known.get(form)
        if known is None:
            families = empty_families()
            observe(families, [_KEY, _GROUP], form, range(count))  # each value says which one it is
            if len(self._known) >= _MOST:
                self._known.clear()
            known = self._known[form] = tuple(
                self._lines_of(family) for family in families.values() if family.samples)
        return known

    def _lines_of(self, family: Metric) -> _Lines:
        text, order = "", list[int]()
        for line in self._encode(_Only((family,))).removesuffix(self._end).decode().split("\n"):
            if line and not line.startswith("# "):
                before, _, place = line.rpartition(" ")
                text += before.replace("%", "%%").replace(_KEY, "%s").replace(_GROUP, "%s") + " %s\n"
                order.append(int(float(place)))
        return _Lines(family.name, text, order)


def _escaped(label: str) -> str:
    """A label's value as it stands between quotes."""
    return label.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
