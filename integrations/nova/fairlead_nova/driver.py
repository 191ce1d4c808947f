"""The volume driver that Nova's libvirt driver calls for volumes of type quobyte.

Comes in: Nova's connection record and instance. Goes out: one question to the agent a call, its answer in Nova's words. This
module mounts nothing, touches no path of a volume, decides nothing about mounts and keeps no state.
"""

from nova.virt import block_device
from nova.virt.libvirt.volume import fs
import nova.conf
from oslo_log import log as logging

from fairlead_nova import errors
from fairlead_nova import record
from fairlead_nova.client import Agent
from fairlead_nova.client import AgentError

LOG = logging.getLogger(__name__)
CONF = nova.conf.CONF


class FairleadQuobyteVolumeDriver(fs.LibvirtMountedFileSystemVolumeDriver):
    """Stands in for nova.virt.libvirt.volume.quobyte.LibvirtQuobyteVolumeDriver.

    Of this base class because Nova then disconnects each instance of a multi-attached volume, and not only the last on the
    host: here as in the drivers for which that was made, somebody else counts the users of a mount.
    """

    def __init__(self, host):
        super().__init__(host, "quobyte")

    def connect_volume(self, connection_info, instance):
        """Returns when the volume is mounted, proven to be the right one and usable, and recorded as this instance's."""
        try:
            answer = _ask("connect", connection_info, CONF.fairlead.connect_timeout, instance)
        except AgentError as error:
            raise errors.nova_exception(error) from error
        LOG.info(
            "Fairlead has connected the volume at %(leaf)s: %(verdict)s, %(what)s.",
            {
                "leaf": answer.get("leaf"),
                "verdict": answer.get("verdict"),
                "what": "newly mounted or attached" if answer.get("changed") else "as it was",
            },
            instance=instance,
        )

    def disconnect_volume(self, connection_info, instance, force=False):
        """Returns when the end of this instance's use is recorded. The mount goes with its last user, as soon as it can.

        With force (Nova cleans up after an instance, and may not be stopped by one volume) what fails is only logged; then
        Fairlead still has the attachment and keeps the mount.
        """
        try:
            answer = _ask("disconnect", connection_info, CONF.fairlead.disconnect_timeout, instance)
        except AgentError as error:
            if error.code == "invalid-argument":
                LOG.warning(
                    "Fairlead takes no such record, so it has connected nothing by it, and there is nothing to end. %s",
                    errors.text_of(error),
                    instance=instance,
                )
            elif force:
                LOG.error(
                    "The volume could not be disconnected and stays mounted; Nova goes on, as it was forced to. When "
                    "Fairlead is well, fairlead ls shows what is left and fairlead disconnect ends it. %s",
                    errors.text_of(error),
                    instance=instance,
                )
            else:
                raise errors.nova_exception(error) from error
            return
        outcome = answer.get("outcome")
        if outcome in ("busy", "hung", "releasing"):
            LOG.warning(
                "The volume at %(leaf)s is no longer this instance's, but it is %(outcome)s and stays mounted for now. "
                "Fairlead takes it away as soon as it can; see: fairlead ls.",
                {"leaf": answer.get("leaf"), "outcome": outcome},
                instance=instance,
            )
        else:
            LOG.info(
                "Fairlead has disconnected the volume at %(leaf)s: %(outcome)s.",
                {"leaf": answer.get("leaf"), "outcome": outcome},
                instance=instance,
            )

    def get_config(self, connection_info, disk_info):
        """Nova's own description of the disk, with file, format, cache and io as Fairlead says them."""
        conf = super().get_config(connection_info, disk_info)
        more = {"diskInfo": record.told_of_disk(disk_info)}
        # Newer Nova's name for it comes first; older Nova has only the other.
        encryption = getattr(conf, "volume_encryption", None) or getattr(conf, "encryption", None)
        if encryption is not None:
            more["secret"] = encryption.secret.uuid
        try:
            answer = _ask("disk-config", connection_info, CONF.fairlead.request_timeout, **more)
        except AgentError as error:
            raise errors.nova_exception(error) from error
        conf.source_protocol = "quobyte"
        conf.source_type = "file"
        conf.source_path = answer["path"]
        conf.driver_format = answer["driver"]["type"]
        conf.driver_cache = answer["driver"]["cache"]
        conf.driver_io = answer["driver"]["io"]
        return conf

    def extend_volume(self, connection_info, instance, requested_size):
        """Returns the size, in bytes, to which Nova is to have QEMU bring the disk: nobody else may touch an open one."""
        try:
            answer = _ask("extend", connection_info, CONF.fairlead.request_timeout, instance, bytes=requested_size)
        except AgentError as error:
            raise errors.extend_exception(error, block_device.get_volume_id(connection_info)) from error
        return answer["bytes"]

    def _get_mount_point_base(self):
        """Required by the base class for ways of mounting that are not taken here."""
        raise NotImplementedError()

    def _mount_options(self, connection_info):
        """Required by the base class for ways of mounting that are not taken here."""
        raise NotImplementedError()


def _ask(verb, connection_info, timeout, instance=None, **more):
    body = {"connectionInfo": record.told_of_record(connection_info), **more}
    if instance is not None:
        body["instance"] = instance.uuid
    try:
        return Agent(CONF.fairlead.socket).ask(f"/v1/nova/{verb}", body, timeout)
    except AgentError as error:
        if error.helper_output:
            LOG.error(
                "The mount helper of the volume at %(leaf)s said: %(said)s",
                {"leaf": error.leaf, "said": error.helper_output},
                instance=instance,
            )
        raise
