"""The section [fairlead] of nova.conf.

Nova's configuration is oslo.config's, which is there wherever Nova is; this module is imported only there.
"""

from oslo_config import cfg

GROUP = cfg.OptGroup("fairlead", title="Fairlead", help="How nova-compute reaches the Fairlead agent of its host.")

OPTIONS = [
    cfg.StrOpt(
        "socket",
        default="/run/fairlead/agent.sock",
        help="The agent's unix socket: agent.sock in Fairlead's run_dir. The user of nova-compute must be in "
        "allowed_uids (or its group in allowed_gids) of fairlead.toml.",
    ),
    cfg.IntOpt(
        "connect_timeout",
        default=120,
        min=1,
        max=3600,
        help="Seconds in which a volume must be connected, waiting for an agent that is being restarted included.",
    ),
    cfg.IntOpt(
        "disconnect_timeout",
        default=120,
        min=1,
        max=3600,
        help="Seconds in which a volume must be disconnected, waiting for an agent that is being restarted included.",
    ),
    cfg.IntOpt(
        "request_timeout",
        default=30,
        min=1,
        max=3600,
        help="Seconds in which anything else must be answered: the description of a disk, and whether it may be extended.",
    ),
]


def register():
    """Makes the options known to Nova's configuration; again is no harm."""
    from nova import conf

    conf.CONF.register_opts(OPTIONS, group=GROUP)


def list_opts():
    """For oslo-config-generator and oslo-config-validator (entry point oslo.config.opts)."""
    return [(GROUP, OPTIONS)]
