"""Views of nodes for tests of the core: few words for one, and Hypothesis strategies for many."""

from __future__ import annotations

from hypothesis import strategies as st

from clusterodm_py.core.placement import Need
from clusterodm_py.core.types import Address, Health, Node, NodeId, NodeInfo, NodeView


def view(
    host: str,
    *,
    slots: int = 1,
    queued: int = 0,
    max_images: int | None = None,
    in_flight: int = 0,
    promised: int = 0,
    pace: float | None = None,
    turn: int = 0,
    health: Health = Health.UP,
    locked: bool = False,
    error: str | None = None,
) -> NodeView:
    return NodeView(
        node=Node(address=Address(host, 3000), locked=locked),
        info=NodeInfo(max_parallel_tasks=slots, task_queue_count=queued, max_images=max_images),
        health=health,
        in_flight=in_flight,
        promised=promised,
        pace=pace,
        turn=turn,
        error=error,
    )


def names(count: int) -> list[str]:
    return [f"n{number}" for number in range(count)]


def any_view(host: str) -> st.SearchStrategy[NodeView]:
    return st.builds(
        view,
        st.just(host),
        slots=st.integers(1, 3),
        queued=st.sampled_from([0, 0, 1, 2, 3]),
        in_flight=st.sampled_from([0, 0, 1, 2]),
        promised=st.sampled_from([0, 0, 1, 2]),
        max_images=st.sampled_from([None, 0, 1, 10, 100]),
        pace=st.sampled_from([None, 1.0, 1.1, 2.0, 5.0]),
        health=st.sampled_from([*[Health.UP] * 5, Health.SHAKY, Health.SHAKY, Health.DOWN, Health.UNKNOWN]),
        locked=st.sampled_from([False] * 5 + [True]),
        turn=st.integers(0, 5),
    )


@st.composite
def clusters(draw: st.DrawFn, most: int = 7) -> list[NodeView]:
    return [draw(any_view(name)) for name in names(draw(st.integers(0, most)))]


NEEDS = st.builds(
    Need,
    images=st.sampled_from([1, 5, 50, 500]),
    exclude=st.sampled_from([frozenset[NodeId](), frozenset({NodeId("n0:3000"), NodeId("n2:3000")})]),
)
