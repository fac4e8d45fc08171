"""The options a task will run with: what its client wished for, as this cluster and the client's token allow."""

from __future__ import annotations

from clusterodm_py.core import options as option
from clusterodm_py.core.types import Access, OptionValue
from clusterodm_py.engine.catalog import Catalog


class Wishes:
    """Both verbs raise BadRequest, naming each option that makes no sense, and Refused when no node tells its own."""

    def __init__(self, catalog: Catalog, *, splitmerge: bool) -> None:
        self._catalog = catalog
        self._splitmerge = splitmerge

    async def check(self, access: Access, raw: str) -> None:
        """Return when every wish can be granted."""
        await self._filtered(access, option.parse_user_options(raw))

    async def final(self, access: Access, raw: str, base_url: str) -> tuple[OptionValue, ...]:
        """What the node gets; split-merge is pointed at `base_url`, where nodes can call us (contract §3.5)."""
        url = option.cluster_url(base_url, access.token)
        wanted = option.augment(option.parse_user_options(raw), access.limits, url, self._splitmerge)
        return await self._filtered(access, wanted)

    async def _filtered(self, access: Access, wanted: tuple[OptionValue, ...]) -> tuple[OptionValue, ...]:
        specs = option.limited_specs(await self._catalog.specs(), access.limits)
        return option.filter_options(wanted, specs)
