"""A rehearsal for operators: does for one volume what nova-compute would do, before nova-compute is switched over.

    python3 -m fairlead_nova.rehearse connect EXPORT NAME INSTANCE      prints the <disk> that libvirt would be given
    python3 -m fairlead_nova.rehearse disconnect EXPORT NAME INSTANCE

Run it as nova-compute's user, with its Python: then it is known that this user reaches the agent, that this Nova finds the driver, and
that the volume can be mounted. libvirt, the message bus and the database are not asked.
"""

import argparse
import sys
import types

from fairlead_nova import program


def main():
    parser = argparse.ArgumentParser(prog="python3 -m fairlead_nova.rehearse", description=__doc__.split("\n", 1)[0])
    parser.add_argument("verb", choices=("connect", "disconnect"))
    parser.add_argument("export", metavar="EXPORT", help="REGISTRY[,REGISTRY...]/VOLUME, as Cinder has it")
    parser.add_argument("name", metavar="NAME", help="the disk: a file in the volume")
    parser.add_argument("instance", metavar="INSTANCE", help="the UUID of the instance that is to use it")
    parser.add_argument("--config-file", action="append", default=[], help="nova.conf, if it is not where Nova looks")
    asked = parser.parse_args()
    program.prepare()
    # Only now: what Nova's program imports first must be first.
    from nova import exception

    try:
        _rehearse(asked)
    except exception.NovaException as error:
        sys.exit(f"{type(error).__name__}: {error}")


def _rehearse(asked):
    from nova import conf
    from nova.virt.libvirt import driver as libvirt_driver
    from oslo_utils import importutils

    files = asked.config_file or None
    conf.CONF([], project="nova", prog="nova-compute", default_config_files=files)
    driver = importutils.import_object(
        libvirt_driver.VOLUME_DRIVERS["quobyte"], types.SimpleNamespace(find_secret=lambda *_: None)
    )
    record = {
        "driver_volume_type": "quobyte",
        "data": {"export": asked.export, "name": asked.name, "format": "raw"},
    }
    instance = types.SimpleNamespace(uuid=asked.instance)
    if asked.verb == "disconnect":
        driver.disconnect_volume(record, instance)
        return
    driver.connect_volume(record, instance)
    print(driver.get_config(record, {"type": "disk", "dev": "vdb", "bus": "virtio"}).to_xml(), end="")


if __name__ == "__main__":
    main()
