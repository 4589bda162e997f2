"""Between two steps of a change of the limit, a reader saw fewer than no calls in flight."""

import threading

from resilience.core.bulkhead import Bulkhead, Slots


def test_no_reader_sees_a_change_of_the_limit_half_done():
    slots, seen = Slots(Bulkhead(5), key="k"), []
    reader = threading.Thread(target=lambda: seen.append(slots.in_flight))

    class Tokens(list):
        def __delitem__(self, at):
            if reader.ident is None:
                reader.start()
                reader.join(0.05)
            super().__delitem__(at)

    slots.tokens = Tokens(slots.tokens)
    slots.configure(Bulkhead(1))
    reader.join(10)

    assert [0] == seen
