"""A compute service without its service: real Nova code, from LibvirtDriver's look-up of volume drivers down, for a test to call.

    python compute.py OPTIONS-AS-JSON

Each line of standard input is a JSON list of jobs that are done at once, each in a thread or green thread of its own; each line of
standard output is the JSON list of what came of them. What is not there is libvirt, the message bus and the database.
"""

import json
import os
import sys
import time
import types
from unittest import mock

OPTIONS = json.loads(sys.argv[1])
# Nova logs to standard output where it is told nothing else; what is answered has that descriptor for itself.
ANSWERS = os.fdopen(os.dup(1), 'w')
os.dup2(2, 1)
GREEN = OPTIONS['manner'] == 'eventlet'
os.environ['OS_NOVA_DISABLE_EVENTLET_PATCHING'] = '0' if GREEN else '1'

if OPTIONS['driver'] == 'fairlead':
    from fairlead_nova import program

    program.prepare()
else:
    from nova.cmd import compute  # noqa: F401  decides between eventlet and threads

import threading  # noqa: E402  the green one, where it is green

from nova import exception  # noqa: E402
from nova.virt.libvirt import driver as libvirt_driver  # noqa: E402
from nova.virt.libvirt.volume import quobyte  # noqa: E402
import nova.conf  # noqa: E402
from oslo_log import log  # noqa: E402

CONF = nova.conf.CONF


def configure():
    log.register_options(CONF)
    CONF([], project='nova', default_config_files=[])
    log.setup(CONF, 'nova')
    CONF.set_override('lock_path', OPTIONS['lockPath'], group='oslo_concurrency')
    if OPTIONS['driver'] == 'fairlead':
        for name, value in OPTIONS['fairlead'].items():
            CONF.set_override(name, value, group='fairlead')
    else:
        CONF.set_override('quobyte_mount_point_base', OPTIONS['mountBase'], group='libvirt')
        # Its answer for hosts without systemd, whatever this one is: there the helper is started directly.
        quobyte._is_systemd = False


def libvirt_without_libvirt():
    made = object.__new__(libvirt_driver.LibvirtDriver)
    made._host = mock.Mock(find_secret=mock.Mock(return_value=None))
    made._volume_api = mock.Mock(get_volume_encryption_metadata=mock.Mock(return_value={}))
    made._sev_enabled = lambda *_: False
    made.volume_drivers = {}
    made.disk_cachemodes = {}
    return made


def work(driver, job):
    record = job['record']
    instance = types.SimpleNamespace(uuid=job['instance'], name='instance-1', host='here', flavor=None, image_meta=None)
    if job['verb'] == 'connect':
        driver._connect_volume(None, record, instance)
    elif job['verb'] == 'disconnect':
        driver._disconnect_volume(None, record, instance, force=job.get('force', False))
    elif job['verb'] == 'extend':
        return driver._extend_volume(record, instance, job['bytes'])
    else:
        disk_info = {'type': 'disk', 'dev': 'vdb', 'bus': 'virtio', 'boot_index': None}
        arguments = (instance, record, disk_info)[driver._get_volume_config.__code__.co_argcount == 3:]
        return driver._get_volume_config(*arguments).to_xml()
    return None


def timed(driver, job):
    begun = time.monotonic()
    try:
        out = {'result': work(driver, job), 'error': None, 'text': ''}
    except Exception as error:
        known = isinstance(error, exception.NovaException)
        out = {'result': None, 'error': type(error).__name__, 'text': str(error) if known else repr(error)}
    return {**out, 'ms': (time.monotonic() - begun) * 1000}


def at_once(driver, jobs):
    results = [None] * len(jobs)

    def run(index):
        results[index] = timed(driver, jobs[index])

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def main():
    configure()
    driver = libvirt_without_libvirt()
    looked_up = driver._get_volume_driver({'driver_volume_type': 'quobyte'})
    patched = 'eventlet' in sys.modules and __import__('eventlet').patcher.is_monkey_patched('socket')
    print(json.dumps({'driver': type(looked_up).__module__, 'green': patched}), file=ANSWERS, flush=True)
    for line in sys.stdin:
        print(json.dumps(at_once(driver, json.loads(line))), file=ANSWERS, flush=True)


main()
