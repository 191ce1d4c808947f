"""Lets OpenStack Nova's libvirt compute service attach Quobyte volumes through Fairlead.

Importing this package does nothing and needs nothing but Python. What acts is register(), which whoever starts
nova-compute calls once (program.py does). Nothing of Nova's files is changed.
"""

__all__ = ["DRIVER", "register"]

#: The class that Nova is to load for volumes of type quobyte.
DRIVER = "fairlead_nova.driver.FairleadQuobyteVolumeDriver"


def register():
    """Names our class in Nova's table of volume drivers, for this process.

    Nova looks a driver up in that table when the first volume of its type is used, and imports the class only then.
    Calling it again changes nothing. Raises RuntimeError where Nova has no such table (before Nova 23).
    """
    from fairlead_nova import settings
    from nova.virt.libvirt import driver

    table = getattr(driver, "VOLUME_DRIVERS", None)
    if not isinstance(table, dict) or "quobyte" not in table:
        raise RuntimeError(
            "This Nova has no table of volume drivers with an entry for quobyte, so Fairlead cannot take its place. "
            "Use Nova 23 or newer, or start nova-compute itself."
        )
    table["quobyte"] = DRIVER
    settings.register()
