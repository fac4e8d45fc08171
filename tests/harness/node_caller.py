"""A client that speaks to one simulated node over a real socket, in NodeODM's words."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from aiohttp import ClientSession, FormData

from clusterodm_py.simulated import SimulatedNode


class NodeCaller:
    """Plain NodeODM calls, each giving the parsed JSON."""

    def __init__(self, session: ClientSession, node: SimulatedNode) -> None:
        self.session = session
        self.node = node

    async def get(self, path: str) -> Any:
        async with self.session.get(self.node.url + path) as answer:
            return await answer.json()

    async def post(self, path: str, data: Any = None, **more: Any) -> Any:
        async with self.session.post(self.node.url + path, data=data, **more) as answer:
            return await answer.json(content_type=None)

    async def init(self, task_id: str | None = None, **fields: str) -> Any:
        form = FormData(fields, default_to_multipart=True)
        return await self.post("/task/new/init", form, headers={"set-uuid": task_id or str(uuid4())})

    async def upload(self, task_id: str, *names: str, content: bytes = b"picture") -> Any:
        return await self.post(f"/task/new/upload/{task_id}", files(*names, content=content))

    async def submit(self, *names: str, **fields: str) -> str:
        task_id = str((await self.init(**fields))["uuid"])
        await self.upload(task_id, *(names or ("a.jpg", "b.jpg")))
        assert await self.post(f"/task/new/commit/{task_id}") == {"uuid": task_id}
        return task_id

    async def info(self, task_id: str) -> Any:
        return await self.get(f"/task/{task_id}/info")

    async def until(self, task_id: str, code: int) -> Any:
        """Ask, as clients do, until the task has that status."""
        while (info := await self.info(task_id))["status"]["code"] != code:
            pass
        return info


def files(*names: str, content: bytes = b"picture") -> FormData:
    form = FormData(default_to_multipart=True)
    for name in names:
        form.add_field("images", content, filename=name, content_type="image/jpeg")
    return form
