"""The small changes that make mutants: which there are, and what is left alone."""

import ast

from tests.mutants.mutations import mutations

SOURCE = '''
"""What it is about."""
from typing import Final
LIMIT: Final = 3
class Machine:
    """A machine."""
    __slots__ = ("n",)
    def take(self, now: float = 1.5) -> bool:
        """Take."""
        if now < self.n and not self.full:
            self.n += 1
            return min(now, -now)
        assert now > 0
        raise ValueError("words")
'''


def test_which_changes_there_are():
    assert [
        "<module>: 3 => 4", "<module>: 3 => 2", "Machine.take: 1.5 => 2.5",
        "Machine.take: now < self.n and (not self.full) => now < self.n or not self.full",
        "Machine.take: now < self.n => now <= self.n", "Machine.take: now < self.n => now >= self.n",
        "Machine.take: not self.full => not not self.full", "Machine.take: self.n += 1 => pass", "Machine.take: 1 => 2",
        "Machine.take: 1 => 0", "Machine.take: return min(now, -now) => return None",
        "Machine.take: min(now, -now) => max(now, -now)", "Machine.take: -now => +now",
        "Machine.take: raise ValueError('words') => pass",
    ] == [mutation.key for mutation in mutations(ast.parse(SOURCE))]


def test_each_change_is_made_alone():
    was = ast.unparse(ast.parse(SOURCE))
    for at in range(len(mutations(ast.parse(SOURCE)))):
        tree = ast.parse(SOURCE)
        mutations(tree)[at].apply()
        now = ast.unparse(ast.fix_missing_locations(tree))

        assert 1 == sum(a != b for a, b in zip(was.splitlines(), now.splitlines(), strict=True))
