"""Fairlead's refusals as Nova's exceptions.

They are classes of Nova's own, because Nova carries an exception of a live migration's destination back to its source by
the name of its class, and takes names of its own packages only. Their text may be shown to a tenant (an instance's fault), so
it has the leaf and never the volume; what the mount helper said goes to the log alone.
"""

from nova import exception

#: The request itself is at fault, or what lies at the volume's place: trying again as it is cannot help.
_INVALID = frozenset(("invalid-argument", "not-found", "conflict", "foreign"))
#: The volume is there and cannot be used.
_UNUSABLE = frozenset(("hung", "unhealthy"))


def text_of(error):
    """One line for operators: what happened, what to do, code and leaf to look it up by."""
    marks = ", ".join(mark for mark in (error.code, error.field, error.leaf) if mark)
    message = error.message.rstrip()
    if not message.endswith((".", "!", "?")):
        message += "."
    return f"{message} [Fairlead: {marks}; on the compute host see: fairlead ls, fairlead doctor]"


def nova_exception(error):
    """The exception that a failed connect, disconnect or disk description raises.

    None of Nova's callers swallows one of these for volumes, unlike DiskNotFound, DeviceNotFound or VolumeNotFound.
    """
    text = text_of(error)
    if error.code in _INVALID:
        return exception.InvalidVolume(reason=text)
    if error.code in _UNUSABLE:
        return exception.StaleVolumeMount(text, mount_path=error.leaf or "")
    return exception.InternalError(err=text)


def extend_exception(error, volume_id):
    """The exception that a failed extend raises."""
    return exception.VolumeExtendFailed(volume_id=volume_id, reason=text_of(error))
