"""The driver inside real Nova code, against a scripted agent: what Nova gets for each answer, and what the agent is told."""

import types
import unittest
from unittest import mock

try:
    import nova.conf
    from nova import exception
    from nova.virt.libvirt import driver as libvirt_driver
    from nova.virt.libvirt.volume import fs
    from nova.virt.libvirt.volume import quobyte
except ImportError as error:
    raise unittest.SkipTest(f"needs Nova: {error}")

import oslo_concurrency.lockutils  # registers lock_path, which Nova's own driver wants

import fairlead_nova
from fairlead_nova import errors
from fairlead_nova.client import AgentError

from . import scripted

INSTANCE = types.SimpleNamespace(uuid="7c9e6679-7425-40de-944b-e07fc1f90ae7", name="instance-1")
DISK_INFO = {"type": "disk", "dev": "vdb", "bus": "virtio", "boot_index": None}
CONFIG = {"path": "/base/leaf/disk", "driver": {"type": "raw", "cache": "none", "io": "native"}}


class Frozen(dict):
    """A dict that may be read."""

    def _refuse(self, *_, **__):
        raise AssertionError("the record was changed")

    __setitem__ = __delitem__ = update = pop = popitem = clear = setdefault = _refuse


def frozen(value):
    return Frozen({key: frozen(each) for key, each in value.items()}) if isinstance(value, dict) else value


def record(**data):
    return frozen(
        {
            "driver_volume_type": "quobyte",
            "serial": "4bd9f4b7-3dbd-4dcb-9d5b-3f9f4b1c0c3e",
            "data": {"export": "quobyte://reg1:7861/vol", "name": "volume-1", "format": "raw", **data},
        }
    )


class DriverCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        fairlead_nova.register()
        nova.conf.CONF([], project="nova", default_config_files=[])

    def setUp(self):
        # As LibvirtDriver makes it, without a connection to libvirt; the look-up is Nova's own.
        self.libvirt = object.__new__(libvirt_driver.LibvirtDriver)
        self.libvirt._host = mock.Mock(find_secret=mock.Mock(return_value=None))
        self.libvirt.volume_drivers = {}
        nova.conf.CONF.set_override("lock_path", "/tmp", group="oslo_concurrency")
        self.addCleanup(nova.conf.CONF.clear_override, "lock_path", group="oslo_concurrency")

    def driver(self, server=None, timeout=2):
        conf = nova.conf.CONF
        for option in ("connect_timeout", "disconnect_timeout", "request_timeout"):
            conf.set_override(option, timeout, group="fairlead")
        conf.set_override("socket", server.path if server else "/nowhere", group="fairlead")
        return self.libvirt._get_volume_driver(record())


class Registration(DriverCase):
    def test_puts_the_class_where_nova_looks_it_up(self):
        self.assertEqual(f"{type(self.driver()).__module__}.{type(self.driver()).__name__}", fairlead_nova.DRIVER)

    def test_lets_nova_disconnect_each_instance_of_a_multi_attached_volume(self):
        self.assertIsInstance(self.driver(), fs.LibvirtMountedFileSystemVolumeDriver)
        args = (None, INSTANCE, True, self.driver(), "id")
        self.assertTrue(self.libvirt._should_disconnect_target(*args))

    def test_refuses_a_nova_without_the_table(self):
        with mock.patch.object(libvirt_driver, "VOLUME_DRIVERS", ["quobyte=x"]):
            with self.assertRaisesRegex(RuntimeError, "Nova 23 or newer"):
                fairlead_nova.register()


class Told(DriverCase):
    """What leaves Nova's process."""

    def test_is_what_the_agent_reads_and_nothing_else(self):
        secret = {"auth_password": "s3cret", "auth_username": "s3cret", "encryption_key_id": "s3cret", "device_path": "/s3cret"}
        info = record(**secret, qos_specs={"total_iops_sec": "10"}, access_mode="rw", volume_id="v", discard=True)
        info = frozen({**info, "multiattach": True, "connector": {"initiator": "s3cret"}, "status": "s3cret"})
        good = scripted.answer(200, {"outcome": "released", **CONFIG, "bytes": 1})
        with scripted.Scripted(good) as server:
            driver = self.driver(server)
            driver.connect_volume(info, INSTANCE)
            driver.disconnect_volume(info, INSTANCE)
            driver.get_config(info, frozen({**DISK_INFO, "unit": 3}))
            driver.extend_volume(info, INSTANCE, 2**30)
        verbs = [route.split("/")[-1] for route, _ in server.requests]
        self.assertEqual(verbs, ["connect", "disconnect", "disk-config", "extend"])
        for _, body in server.requests:
            self.assertNotIn("s3cret", str(body))
            self.assertEqual(body["connectionInfo"], {
                "driver_volume_type": "quobyte",
                "serial": info["serial"],
                "multiattach": True,
                "data": {
                    "export": "quobyte://reg1:7861/vol",
                    "name": "volume-1",
                    "format": "raw",
                    "qos_specs": {"total_iops_sec": "10"},
                    "access_mode": "rw",
                    "volume_id": "v",
                    "discard": True,
                },
            })
        connect, disconnect, config, extend = (body for _, body in server.requests)
        for body, instance in ((connect, INSTANCE.uuid), (disconnect, INSTANCE.uuid), (config, None), (extend, INSTANCE.uuid)):
            self.assertEqual(body.get("instance"), instance)
        self.assertEqual(config["diskInfo"], {"type": "disk", "dev": "vdb", "bus": "virtio", "unit": 3})
        self.assertEqual(extend["bytes"], 2**30)


class Refusals(DriverCase):
    """Each becomes an exception of Nova's own module, with what an operator needs."""

    EXPECTED = {
        "invalid-argument": "InvalidVolume",
        "not-found": "InvalidVolume",
        "conflict": "InvalidVolume",
        "foreign": "InvalidVolume",
        "hung": "StaleVolumeMount",
        "unhealthy": "StaleVolumeMount",
        "permission-denied": "InternalError",
        "busy": "InternalError",
        "deadline-exceeded": "InternalError",
        "stuck": "InternalError",
        "helper-failed": "InternalError",
        "helper-untrusted": "InternalError",
        "config-invalid": "InternalError",
        "unavailable": "InternalError",
        "resource-exhausted": "InternalError",
        "internal": "InternalError",
    }

    def test_of_connect(self):
        for code, name in self.EXPECTED.items():
            refusal = scripted.refusal(500, code, False, leaf="5b50", field="data.x", helperOutput="said")
            with self.subTest(code), scripted.Scripted(refusal) as server:
                with self.assertLogs("fairlead_nova.driver", "ERROR") as logged:
                    with self.assertRaises(exception.NovaException) as caught:
                        self.driver(server).connect_volume(record(), INSTANCE)
                self.assertIs(type(caught.exception), getattr(exception, name))
                text = str(caught.exception)
                self.assertIn(f"Look at it. [Fairlead: {code}, data.x, 5b50; on the compute host see: fairlead ls", text)
                self.assertNotIn("said", text)
                self.assertIn("said", "".join(logged.output))
                self.assertNotIn("reg1", text)

    def test_of_get_config_and_extend(self):
        with scripted.Scripted(scripted.refusal(400, "invalid-argument", False, field="diskInfo.dev")) as server:
            with self.assertRaises(exception.InvalidVolume):
                self.driver(server).get_config(record(), DISK_INFO)
            with self.assertRaises(exception.VolumeExtendFailed) as caught:
                self.driver(server).extend_volume(record(), INSTANCE, 2**30)
        self.assertIn(record()["serial"], str(caught.exception))

    def test_survive_the_way_back_from_another_host(self):
        # oslo.messaging makes an exception again from its class, arguments and kwargs.
        for code in self.EXPECTED:
            made = errors.nova_exception(AgentError(code, "Look at it.", leaf="5b50"))
            again = type(made)(*made.args, **made.kwargs)
            self.assertEqual(str(again), str(made))
            self.assertEqual(type(made).__module__, "nova.exception")


class Disconnect(DriverCase):
    def outcome(self, act, force=False, level="INFO"):
        with scripted.Scripted(act) as server, self.assertLogs("fairlead_nova.driver", level) as logged:
            self.driver(server).disconnect_volume(record(), INSTANCE, force=force)
        return "".join(logged.output)

    def test_tells_the_truth_of_the_mount_in_the_log(self):
        levels = {"released": "INFO", "still-used": "INFO", "not-connected": "INFO", "busy": "WARNING", "hung": "WARNING"}
        for outcome, level in levels.items():
            with self.subTest(outcome):
                said = self.outcome(scripted.answer(200, {"outcome": outcome, "leaf": "5b50"}))
                self.assertIn(level, said)
                self.assertIn("5b50", said)
                self.assertIn(outcome, said)

    def test_of_a_record_that_fairlead_never_took_has_nothing_to_end(self):
        refusal = scripted.refusal(400, "invalid-argument", False, field="connectionInfo.data.name")
        self.assertIn("nothing to end", self.outcome(refusal, level="WARNING"))

    def test_that_fails_is_raised_unless_it_is_forced(self):
        for act in (scripted.refusal(503, "unavailable", True), scripted.refusal(500, "internal", False)):
            with scripted.Scripted(act) as server, self.assertRaises(exception.InternalError):
                self.driver(server, 1).disconnect_volume(record(), INSTANCE)
            self.assertIn("stays mounted", self.outcome(act, force=True, level="ERROR"))


class Description(DriverCase):
    """The XML is Nova's, and equal to what Nova's own driver makes."""

    CASES = (
        {},
        {"format": "qcow2"},
        {"qos_specs": {"total_bytes_sec": "1000", "write_iops_sec_max": "5", "size_iops_sec": "4"}},
        {"access_mode": "ro"},
        {"access_mode": "rw", "discard": True},
        {"logical_block_size": "4096", "physical_block_size": "4096"},
        {"volume_id": "11111111-2222-3333-4444-555555555555"},
    )

    def xml(self, driver, info, disk_info):
        conf = driver.get_config(info, disk_info)
        self.libvirt.disk_cachemodes = {}
        self.libvirt._set_cache_mode(conf)
        return conf.to_xml()

    def both(self, info, disk_info):
        base = "/base"
        nova.conf.CONF.set_override("quobyte_mount_point_base", base, group="libvirt")
        self.addCleanup(nova.conf.CONF.clear_override, "quobyte_mount_point_base", group="libvirt")
        own = quobyte.LibvirtQuobyteVolumeDriver(self.libvirt._host)
        answer = {**CONFIG, "path": own._get_device_path(info), "driver": {**CONFIG["driver"], "type": info["data"]["format"]}}
        with scripted.Scripted(scripted.answer(200, answer)) as server:
            self.requests = server.requests
            return self.xml(self.driver(server), info, disk_info), self.xml(own, info, disk_info)

    def test_is_novas(self):
        for data in self.CASES:
            for more in ({}, {"multiattach": True}):
                for disk_info in (DISK_INFO, {"type": "disk", "dev": "sda", "bus": "scsi", "unit": 7}):
                    with self.subTest(data=data, more=more, disk_info=disk_info):
                        ours, novas = self.both(frozen({**record(**data), **more}), disk_info)
                        self.assertEqual(ours, novas)

    def test_has_the_secret_of_an_encrypted_volume(self):
        secret = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
        self.libvirt._host.find_secret.return_value = mock.Mock(UUIDString=lambda: secret)
        ours, novas = self.both(record(encrypted=True), DISK_INFO)
        self.assertEqual(ours, novas)
        self.assertIn(secret, ours)
        self.assertEqual(self.requests[0][1]["secret"], secret)

    def test_takes_cache_and_io_from_the_agent(self):
        answer = {**CONFIG, "driver": {"type": "raw", "cache": "writeback", "io": "threads"}}
        with scripted.Scripted(scripted.answer(200, answer)) as server:
            xml = self.xml(self.driver(server), record(), DISK_INFO)
        self.assertIn('cache="writeback" io="threads"', xml)

    def test_refuses_an_access_mode_as_nova_does(self):
        with self.assertRaises(exception.InvalidVolumeAccessMode):
            self.driver().get_config(record(access_mode="xx"), DISK_INFO)


if __name__ == "__main__":
    unittest.main()
