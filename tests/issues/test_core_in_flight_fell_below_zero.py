"""Between two steps of a change of the limit, a reader saw fewer than no calls in flight."""

import threading
from collections import deque

from resilience.core.bulkhead import Bulkhead, Slots


def test_no_reader_sees_a_change_of_the_limit_half_done():
    slots, seen = Slots(Bulkhead(5), key="k"), []
    reader = threading.Thread(target=lambda: seen.append(slots.in_flight))

    class Tokens(deque):
        def pop(self):
            if reader.ident is None:
                reader.start()
                reader.join(0.05)
            return super().pop()

    slots._tokens = Tokens(slots._tokens)
    slots.configure(Bulkhead(1))
    reader.join(10)

    assert [0] == seen
