"""The long-lived process that calls a volume driver as a compute service does, and times it.

    python3 harness.py SUBJECT OPTIONS-AS-JSON

SUBJECT is `nova-own` (Nova's own LibvirtQuobyteVolumeDriver, unmodified), `nova-fairlead` (Fairlead's driver for Nova) or
`bare` (the mount helper and the unmount helper by exec, and nothing else). A job list comes in as one line of JSON:

    {"verb": "connect", "atOnce": true, "jobs": [{"export": "reg/vol", "name": "disk", "instance": "<uuid>"}]}

and one line goes out: milliseconds of each job, from its call to its return, of all of them together, and what went wrong.
Jobs at once have a thread each; all threads exist and wait at a gate before the clock starts.
"""

import json
import os
import sys
import threading
import time
import types


class Nova:
    """A volume driver of Nova's, called with what Nova calls it with."""

    def __init__(self, driver):
        self._driver = driver

    @staticmethod
    def configure(options):
        import nova.conf
        import oslo_concurrency.lockutils  # registers lock_path

        conf = nova.conf.CONF
        conf([], project="nova", default_config_files=[])
        conf.set_override("lock_path", options["lockPath"], group="oslo_concurrency")
        conf.set_override("quobyte_mount_point_base", options["mountBase"], group="libvirt")

    def connect(self, job):
        self._driver.connect_volume(connection_info(job), instance(job))

    def disconnect(self, job):
        self._driver.disconnect_volume(connection_info(job), instance(job))


class Bare:
    """The helpers by exec: what nobody can do without."""

    def __init__(self, options):
        self._options = options

    def connect(self, job):
        self._run(self._options["mountHelper"], "--disable-xattrs", job["export"], self._directory(job))

    def disconnect(self, job):
        self._run(self._options["unmountHelper"], self._directory(job))

    def probe(self, job):
        os.statvfs(self._directory(job))

    def prepare(self, job):
        os.makedirs(self._directory(job), exist_ok=True)

    def _directory(self, job):
        return os.path.join(self._options["mountBase"], job["export"].replace("/", "_"))

    @staticmethod
    def _run(program, *words):
        child = os.posix_spawn(program, [program, *words], dict(os.environ))
        _, status = os.waitpid(child, 0)
        if status != 0:
            raise RuntimeError(f"{program} ended with {status}")


def connection_info(job):
    data = {"export": job["export"], "name": job["name"], "format": "raw"}
    return {"driver_volume_type": "quobyte", "data": data, "serial": job["instance"]}


def instance(job):
    return types.SimpleNamespace(uuid=job["instance"], name="instance-" + job["instance"][:8])


def subject_of(name, options):
    if name == "bare":
        return Bare(options)
    import nova.conf

    host = types.SimpleNamespace(find_secret=lambda *_: None)
    Nova.configure(options)
    if name == "nova-own":
        from nova.virt.libvirt.volume import quobyte

        assert not quobyte.is_systemd(), "no systemd may be seen here: the helpers are started in the same way for all"
        return Nova(quobyte.LibvirtQuobyteVolumeDriver(host))
    if name == "nova-fairlead":
        from fairlead_nova import settings

        settings.register()
        nova.conf.CONF.set_override("socket", options["socket"], group="fairlead")
        from fairlead_nova.driver import FairleadQuobyteVolumeDriver

        return Nova(FairleadQuobyteVolumeDriver(host))
    raise SystemExit(f"no such subject: {name}")


def timed(call, job, failures):
    begun = time.perf_counter()
    try:
        call(job)
    except Exception as error:  # every failure is told to whoever asked
        failures.append(f"{type(error).__name__}: {error}")
    return (time.perf_counter() - begun) * 1000


def one_by_one(call, jobs, failures):
    return [timed(call, job, failures) for job in jobs]


def at_once(call, jobs, failures):
    ready = threading.Barrier(len(jobs) + 1)
    times = [0.0] * len(jobs)

    def work(index, job):
        ready.wait()
        times[index] = timed(call, job, failures)

    threads = [threading.Thread(target=work, args=each) for each in enumerate(jobs)]
    for thread in threads:
        thread.start()
    ready.wait()
    begun = time.perf_counter()
    for thread in threads:
        thread.join()
    return times, (time.perf_counter() - begun) * 1000


def main():
    name, options = sys.argv[1], json.loads(sys.argv[2])
    subject = subject_of(name, options)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        call, jobs, failures = getattr(subject, asked["verb"]), asked["jobs"], []
        begun = time.perf_counter()
        if asked["atOnce"]:
            times, all_of_them = at_once(call, jobs, failures)
        else:
            times = one_by_one(call, jobs, failures)
            all_of_them = (time.perf_counter() - begun) * 1000
        print(json.dumps({"ms": times, "allMs": all_of_them, "failures": failures[:3]}), flush=True)


if __name__ == "__main__":
    main()
