# Starts a program and reaps whatever it leaves behind, as an init does: reap.py PROGRAM [ARGUMENT ...]. Says the program's process
# number on its first line, and ends when nothing of it is left. Needed for libvirtd: it waits until a QEMU that it ended is gone, and in the
# process namespace of a test run nobody else takes such orphans away.

import ctypes
import os
import sys

PR_SET_CHILD_SUBREAPER = 36  # prctl(2)

if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
    sys.exit("prctl failed")
pid = os.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
print(pid, flush=True)
while True:
    try:
        os.wait()
    except ChildProcessError:
        break
