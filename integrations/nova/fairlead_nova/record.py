"""What of Nova's connection record the agent is told.

The record is Cinder's: it may hold credentials and whatever else a later version puts there. Only the keys that the agent
reads leave this process, and they leave it as they are: the agent parses them. The record itself is never changed.
"""

_RECORD_KEYS = ("driver_volume_type", "mount_point_base", "serial", "multiattach")
_DATA_KEYS = (
    "export",
    "name",
    "format",
    "options",
    "access_mode",
    "encrypted",
    "discard",
    "logical_block_size",
    "physical_block_size",
    "qos_specs",
    "volume_id",
)
_DISK_KEYS = ("dev", "bus", "type", "unit")


def told_of_record(connection_info):
    """The part of a connection record that the agent reads."""
    told = _chosen(connection_info, _RECORD_KEYS)
    if "data" in connection_info:
        data = connection_info["data"]
        told["data"] = _chosen(data, _DATA_KEYS) if isinstance(data, dict) else None
    return told


def told_of_disk(disk_info):
    """The part of Nova's disk_info that the agent reads."""
    return _chosen(disk_info, _DISK_KEYS)


def _chosen(record, keys):
    return {key: record[key] for key in keys if record.get(key) is not None}
