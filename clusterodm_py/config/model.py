"""Every key of the configuration, declared once: its type, its checks, its default and what it is for."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

from clusterodm_py.config import checks, kinds
from clusterodm_py.config.keys import Group, Key
from clusterodm_py.core.types import Token

_GIB: Final = 1024**3


class Config(BaseModel):
    """What the operator decided, checked as a whole.

    Fields stand in the order in which they are checked: a check sees the fields above its own. Relative paths start
    at the `cwd` of the validation context.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True)

    ssl_key: Annotated[
        kinds.ReadableFile,
        Key(Group.TLS, "FILE", "private key in PEM format; needs ssl-cert, and both switch TLS on"),
    ] = None
    ssl_cert: Annotated[
        kinds.ReadableFile,
        AfterValidator(checks.both_or_neither),
        Key(Group.TLS, "FILE", "certificate chain in PEM format; needs ssl-key"),
    ] = None

    host: Annotated[
        kinds.Host,
        Key(Group.PORTS, "ADDRESS", "address that the public ports listen on; :: is all of IPv6"),
    ] = checks.EVERYWHERE
    port: Annotated[
        kinds.Port,
        Key(
            Group.PORTS,
            "PORT",
            "public port, for clients and for nodes that split; HTTPS where TLS is on and secure-port is 0; "
            "0 takes any free port",
            short="-p",
        ),
    ] = 3000
    secure_port: Annotated[
        kinds.OptionalPort,
        AfterValidator(checks.secure_needs_tls),
        AfterValidator(checks.port_of_its_own),
        Key(
            Group.PORTS,
            "PORT",
            "where TLS is on: HTTPS here, and plain HTTP stays on port; 0 is off. PyODM, and so split-merge, "
            "speaks HTTPS to port 443 only",
        ),
    ] = None
    admin_pass: Annotated[
        kinds.Secret,
        Key(
            Group.ACCESS,
            "PASSWORD",
            "password of the admin CLI and of the admin web page (user: admin); without one both take "
            "connections from this machine only",
            secret=True,
        ),
    ] = Token("")
    admin_host: Annotated[
        kinds.Host,
        BeforeValidator(checks.host_for_admins),
        Key(
            Group.PORTS,
            "ADDRESS",
            "address that the admin ports listen on",
            default=f"{checks.LOOPBACK}, or {checks.EVERYWHERE} where admin-pass is set",
        ),
    ] = ""
    admin_cli_port: Annotated[
        kinds.OptionalPort,
        AfterValidator(checks.port_of_its_own),
        Key(Group.PORTS, "PORT", "admin CLI, for telnet or nc; 0 is off"),
    ] = 8080
    admin_web_port: Annotated[
        kinds.OptionalPort,
        AfterValidator(checks.port_of_its_own),
        Key(Group.PORTS, "PORT", "admin web page; 0 is off"),
    ] = 10000

    token: Annotated[
        kinds.Secret,
        Key(Group.ACCESS, "TOKEN", "clients must send this token; without one anybody may call", secret=True),
    ] = Token("")
    tokens_file: Annotated[
        kinds.ReadableFile,
        Key(Group.ACCESS, "FILE", "tokens of several users, with limits for each"),
    ] = None
    cloud_provider: Annotated[
        kinds.Provider,
        Key(
            Group.ACCESS,
            "NAME|URL",
            "who judges tokens: local (token or tokens-file), lightning, lightningDev, or the address of a "
            "service with Lightning's interface",
            short="-c",
        ),
    ] = "local"
    public_address: Annotated[
        kinds.PublicAddress,
        Key(
            Group.ACCESS,
            "URL",
            "where nodes reach this proxy for split-merge, such as http://10.0.0.1:3000; set it where nodes "
            "cannot use the name that clients call",
            default="what the client called",
        ),
    ] = ""
    cors_origins: Annotated[
        kinds.OriginList,
        Key(
            Group.ACCESS,
            "ORIGIN",
            "web origins whose pages may send credentials, such as https://app.example.org; repeat the flag for "
            "more. Pages of any other may call without",
            default="*, that is no origin in particular",
        ),
    ] = ("*",)

    node: Annotated[
        kinds.NodeList,
        Key(
            Group.NODES,
            "HOST:PORT[?token=TOKEN]",
            "a NodeODM server to use; repeat the flag for more. Nodes added by an admin are kept beside these",
            secret=True,
            default="none",
        ),
    ] = ()
    splitmerge: Annotated[
        kinds.Switch,
        Key(Group.NODES, "", "spread tasks that have the option split over the whole cluster"),
    ] = True
    flood_limit: Annotated[
        kinds.Count,
        Key(Group.NODES, "TASKS", "tasks that one token may have begun and not committed; 0 is no limit"),
    ] = 0
    poll_interval: Annotated[
        kinds.Seconds,
        Key(Group.NODES, "SECONDS", "how often nodes and running tasks are looked at"),
    ] = 5.0
    dispatch_retries: Annotated[
        kinds.Retries,
        Key(Group.NODES, "TIMES", "further tries to hand a task to a node before the task fails"),
    ] = 5
    queue: Annotated[
        kinds.QueuePlace,
        Key(
            Group.NODES,
            "cluster|node",
            "where a task waits that finds no free slot: here, and it goes to the node that is free first; or, as "
            "with ClusterODM, on the node that seems best now",
        ),
    ] = kinds.QueueAt.CLUSTER
    failover_after: Annotated[
        kinds.Patience,
        Key(
            Group.NODES,
            "SECONDS",
            "how long a node must be silent before its tasks start again on another; a quarter of it where its machine "
            "answers that nothing listens there",
        ),
    ] = 120.0
    retry_failed_children: Annotated[
        kinds.Retries,
        Key(
            Group.NODES,
            "TIMES",
            "how often a submodel of a split that its node failed is tried on another or larger node; any other task "
            "that failed stays failed",
        ),
    ] = 0
    retention_days: Annotated[
        kinds.Days,
        Key(Group.NODES, "DAYS", "how long after anybody last asked for it an ended task is forgotten"),
    ] = 5.0
    asr: Annotated[
        kinds.Text,
        AfterValidator(checks.no_autoscaler_yet),
        Key(Group.NODES, "FILE", "autoscaler configuration; not in this version, so leave it empty"),
    ] = ""

    pipeline: Annotated[
        kinds.Switch,
        Key(Group.DISK, "", "pass uploads on to a node while they arrive"),
    ] = True
    push_connections: Annotated[
        kinds.Connections,
        Key(Group.DISK, "COUNT", "parallel upload connections to a node for one task, 1 to 20"),
    ] = 8
    upload_max_speed: Annotated[
        kinds.Size,
        Key(
            Group.DISK,
            "SIZE",
            "bytes per second of one upload connection to a node, such as 10M; 0 is no limit",
        ),
    ] = 0
    spool_quota: Annotated[
        kinds.Size,
        Key(
            Group.DISK,
            "SIZE",
            "space that uploads may fill while they wait for a node, such as 500G; further ones are refused; "
            "0 is no limit",
        ),
    ] = 0
    token_quota: Annotated[
        kinds.Size,
        Key(
            Group.DISK,
            "SIZE",
            "space that the uploads of one token may fill while they wait for a node; a tokens file may say otherwise; "
            "0 is no limit",
        ),
    ] = 0
    spool_free_floor: Annotated[
        kinds.Size,
        Key(Group.DISK, "SIZE", "disk space that uploads must leave free; 0 is none", default="1G"),
    ] = _GIB
    keep_uploads: Annotated[
        kinds.UploadsKept,
        Key(
            Group.DISK,
            "done|dispatched",
            "when the images of a task are deleted here: once it is done, and until then it survives the loss of its "
            "node; or once a node has them",
        ),
    ] = kinds.KeepUploads.DONE
    stale_uploads_timeout: Annotated[
        kinds.Hours,
        Key(
            Group.DISK, "HOURS", "how long an upload may stay uncommitted before it is deleted; 0 is 48 hours"
        ),
    ] = 0.0
    fsync: Annotated[
        kinds.Switch,
        Key(
            Group.DISK,
            "",
            "answer only when data is on the disk itself, which outlives a power cut but is slower; a crash of the "
            "program loses nothing either way",
        ),
    ] = False
    downloads_from_s3: Annotated[
        kinds.Text,
        AfterValidator(checks.no_redirects_yet),
        Key(Group.DISK, "URL", "where downloads are redirected to; not in this version, so leave it empty"),
    ] = ""

    log_level: Annotated[
        kinds.LogLevelName,
        Key(Group.LOGGING, "LEVEL", f"one of {', '.join(kinds.LogLevel)}"),
    ] = kinds.LogLevel.INFO
    debug: Annotated[
        kinds.Switch,
        Key(Group.LOGGING, "", "the same as log-level debug"),
    ] = False

    data_dir: Annotated[
        kinds.Folder,
        Key(
            Group.FILES,
            "FOLDER",
            "where tasks and nodes are kept; nodes.json and routes.json that ClusterODM left there are taken over",
        ),
    ] = Path("data")
    spool_dir: Annotated[
        kinds.Folder,
        BeforeValidator(checks.spool_in_data),
        Key(
            Group.FILES,
            "FOLDER",
            "where uploads wait for a node; wants room for all of them at once",
            default="spool in data-dir",
        ),
    ] = Path()

    @property
    def tls(self) -> bool:
        return self.ssl_cert is not None

    @property
    def threshold(self) -> int:
        """The level of Python's logging from which on lines are shown."""
        return logging.DEBUG if self.debug else self.log_level.threshold
