"""What an owner had lately, as a fair share counts it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clusterodm_py.core.shares import MEMORY, Shares
from clusterodm_py.core.types import OwnerId

OWNERS = st.sampled_from("abc").map(OwnerId)


def test_a_task_that_ended_soon_counts_for_an_hour() -> None:
    shares = Shares()
    shares.started(OwnerId("a"), 0.0)
    assert shares.had({}, MEMORY - 1) == {"a": 1}
    assert shares.had({}, MEMORY) == {}


def test_a_task_still_on_its_node_counts_once_however_long() -> None:
    shares = Shares()
    shares.started(OwnerId("a"), 0.0)
    assert shares.had({OwnerId("a"): 1}, 1.0) == {"a": 1}
    assert shares.had({OwnerId("a"): 3}, 2 * MEMORY) == {"a": 3}


@given(
    st.lists(st.tuples(OWNERS, st.floats(0, 3 * MEMORY)), max_size=20),
    st.dictionaries(OWNERS, st.integers(1, 4)),
)
def test_it_is_the_larger_of_both_counts(
    starts: list[tuple[OwnerId, float]], served: dict[OwnerId, int]
) -> None:
    shares, now = Shares(), 3 * MEMORY
    for owner, when in sorted(starts, key=lambda start: start[1]):
        shares.started(owner, when)
    had = shares.had(served, now)
    for owner in map(OwnerId, "abc"):
        lately = sum(one == owner and when > now - MEMORY for one, when in starts)
        assert had[owner] == max(lately, served.get(owner, 0))
