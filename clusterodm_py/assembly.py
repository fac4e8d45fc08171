"""Which object gets which: the engine over its adapters, the public face over the engine. Configuration ends here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

from clusterodm_py.auth.base import AccessService
from clusterodm_py.config import Config
from clusterodm_py.config.kinds import KeepUploads, QueueAt
from clusterodm_py.core.failover import FailoverPolicy
from clusterodm_py.core.types import TaskId
from clusterodm_py.engine.admin import Admin
from clusterodm_py.engine.background import Background
from clusterodm_py.engine.catalog import Catalog
from clusterodm_py.engine.conclusion import Conclusion, ConclusionPolicy
from clusterodm_py.engine.control import Control
from clusterodm_py.engine.dispatcher import Dispatcher, DispatchPolicy
from clusterodm_py.engine.failover import Failover
from clusterodm_py.engine.handover import Handover, HandoverPolicy
from clusterodm_py.engine.health import Watch, WatchPolicy
from clusterodm_py.engine.intake import Intake, IntakePolicy
from clusterodm_py.engine.janitor import Janitor, Retention
from clusterodm_py.engine.notices import Notices
from clusterodm_py.engine.pipeline import PipelinePolicy, Pipelines
from clusterodm_py.engine.reclaim import Reclaim
from clusterodm_py.engine.scheduler import Scheduler, SchedulerPolicy
from clusterodm_py.engine.speeds import Speeds
from clusterodm_py.engine.strays import Strays
from clusterodm_py.engine.traces import Traces
from clusterodm_py.engine.tracker import Tracker, TrackPolicy
from clusterodm_py.engine.transcript import Transcript
from clusterodm_py.engine.wishes import Wishes
from clusterodm_py.faces.proxy import Proxy
from clusterodm_py.faces.relay import Relay
from clusterodm_py.faces.replies import Cors
from clusterodm_py.faces.reports import Reports
from clusterodm_py.faces.submit import Submit
from clusterodm_py.faces.tasks import TaskFace
from clusterodm_py.logbook import Logbook
from clusterodm_py.nodeodm.client import NodeClient
from clusterodm_py.nodeodm.connection import Connection
from clusterodm_py.nodeodm.push import Pusher, PushPolicy
from clusterodm_py.nodeodm.quick import QuickGets
from clusterodm_py.store.base import Store
from clusterodm_py.uploads.spool import Spool


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapters:
    """What touches the world; opened and closed by the caller."""

    access: AccessService
    store: Store
    spool: Spool
    connection: Connection
    quick: QuickGets
    logbook: Logbook


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """Everything that moves tasks, ready to start."""

    background: Background
    watch: Watch
    catalog: Catalog
    speeds: Speeds
    scheduler: Scheduler
    dispatcher: Dispatcher
    tracker: Tracker
    transcript: Transcript
    strays: Strays
    janitor: Janitor
    control: Control
    intake: Intake
    admin: Admin

    async def start(self) -> None:
        """Clear what a crash left, look at the nodes, and take up every task where its record says."""
        await self.janitor.start()
        await self.speeds.start()
        await self.watch.start()
        self.background.start("scheduler", self.scheduler.run())
        await self.tracker.start()
        await self.dispatcher.start()
        self.background.start("strays", self.strays.run())
        self.background.start("janitor", self.janitor.run())


def build_engine(
    config: Config, adapters: Adapters, background: Background, clock: Callable[[], float]
) -> Engine:
    store, spool = adapters.store, adapters.spool
    spool.pressed = Reclaim(store, spool).free
    client = NodeClient(adapters.connection)
    pusher = Pusher(
        adapters.connection,
        PushPolicy(connections=config.push_connections, bytes_per_second=config.upload_max_speed),
    )
    watch = Watch(
        store=store,
        client=client,
        background=background,
        clock=clock,
        policy=WatchPolicy(interval=config.poll_interval),
    )
    strays = Strays(store, client, pusher)
    transcript = Transcript(store, adapters.logbook)
    tracker = Tracker(
        store=store,
        watch=watch,
        spool=spool,
        client=client,
        transcript=transcript,
        failover=Failover(
            store=store,
            watch=watch,
            spool=spool,
            strays=strays,
            transcript=transcript,
            clock=clock,
            policy=FailoverPolicy(after=config.failover_after, retries=config.retry_failed_children),
        ),
        access=adapters.access,
        background=background,
        clock=clock,
        policy=TrackPolicy(interval=config.poll_interval),
    )
    notices = Notices(store)
    scheduler = Scheduler(
        store=store,
        watch=watch,
        notices=notices,
        policy=SchedulerPolicy(late=config.queue is QueueAt.CLUSTER),
    )
    pipelines = Pipelines(
        store=store,
        spool=spool,
        watch=watch,
        pusher=pusher,
        strays=strays,
        background=background,
        clock=clock,
        policy=PipelinePolicy(),
    )
    speeds = Speeds(store, background)
    watch.pace = speeds.pace
    tracker.finished = speeds.finished
    watch.improved = scheduler.wake
    watch.returned = strays.wake
    watch.promised = pipelines.promised
    scheduler.warm = pipelines.warm
    dispatcher = Dispatcher(
        store=store,
        watch=watch,
        scheduler=scheduler,
        pipelines=pipelines,
        notices=notices,
        handover=Handover(
            store=store, spool=spool, client=client, pusher=pusher, clock=clock, policy=HandoverPolicy()
        ),
        tracker=tracker,
        strays=strays,
        conclusion=Conclusion(
            store=store,
            watch=watch,
            spool=spool,
            tracker=tracker,
            strays=strays,
            clock=clock,
            policy=ConclusionPolicy(
                attempts=1 + config.dispatch_retries, keep_spool=config.keep_uploads is KeepUploads.DONE
            ),
        ),
        background=background,
        policy=DispatchPolicy(),
    )
    tracker.requeued = dispatcher.submit
    traces = Traces(store=store, spool=spool, pipelines=pipelines, strays=strays, transcript=transcript)
    control = Control(
        store=store,
        spool=spool,
        client=client,
        dispatcher=dispatcher,
        pipelines=pipelines,
        tracker=tracker,
        strays=strays,
        traces=traces,
        clock=clock,
    )
    catalog = Catalog(watch, client, clock)
    return Engine(
        background=background,
        watch=watch,
        catalog=catalog,
        speeds=speeds,
        scheduler=scheduler,
        dispatcher=dispatcher,
        tracker=tracker,
        transcript=transcript,
        strays=strays,
        janitor=Janitor(store=store, spool=spool, traces=traces, clock=clock, retention=_retention(config)),
        control=control,
        intake=Intake(
            store=store,
            spool=spool,
            watch=watch,
            wishes=Wishes(catalog, splitmerge=config.splitmerge),
            access=adapters.access,
            dispatcher=dispatcher,
            pipelines=pipelines,
            clock=clock,
            new_id=lambda: TaskId(str(uuid4())),
            policy=IntakePolicy(
                splitmerge=config.splitmerge, flood_limit=config.flood_limit, pipeline=config.pipeline
            ),
        ),
        admin=Admin(
            store=store, watch=watch, calls=client, tasks=control, front=transcript.front, clock=clock
        ),
    )


def build_proxy(config: Config, adapters: Adapters, engine: Engine, clock: Callable[[], float]) -> Proxy:
    cors = Cors(origins=frozenset(config.cors_origins))
    relay = Relay(adapters.connection, adapters.quick, cors)
    return Proxy(
        access=adapters.access,
        store=adapters.store,
        watch=engine.watch,
        catalog=engine.catalog,
        relay=relay,
        submit=Submit(intake=engine.intake, public_address=config.public_address, tls=config.tls),
        tasks=TaskFace(
            store=adapters.store,
            relay=relay,
            control=engine.control,
            tracker=engine.tracker,
            reports=Reports(
                store=adapters.store,
                relay=relay,
                tracker=engine.tracker,
                transcript=engine.transcript,
                position=engine.scheduler.position,
                clock=clock,
            ),
            clock=clock,
        ),
        cors=cors,
    )


def _retention(config: Config) -> Retention:
    hours = config.stale_uploads_timeout or 48
    return Retention(upload=hours * 3600.0, task=config.retention_days * 86400.0)
