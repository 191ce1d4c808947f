"""The program nova-compute-fairlead: Nova's own compute service, with Fairlead's driver in its table.

Comes in: Nova's own command line. Never here: anything of what the service then does.
"""

import os
import sys


def prepare():
    """Imports Nova's compute program, puts the driver into its table, and returns the program's module.

    Nova's module comes first, always: it decides between eventlet and native threads while it is imported, and what was
    imported before would be left out.
    """
    from nova.cmd import compute

    import fairlead_nova

    fairlead_nova.register()
    return compute


def main():
    """Becomes nova-compute. Nova derives the names of its configuration files from the program's, so it keeps that one."""
    sys.argv[0] = os.path.join(os.path.dirname(sys.argv[0]), "nova-compute")
    return prepare().main()
