"""Asks Nova's own Quobyte volume driver to describe disks, many in one run.

Standard input: a JSON list of objects with connectionInfo, diskInfo, secret (a UUID or null) and xml (another description of the same
disk, or null). Standard output: a JSON list with, for each, xml (the original's description, or null), error (the class of the
exception instead), and other (the given description), both descriptions in canonical form (C14N) with blanks between elements left out.
"""

import json
import logging
import sys
import warnings
from unittest import mock

from lxml import etree

import nova.conf
from nova.virt.libvirt.volume import quobyte

CONF = nova.conf.CONF


def canonical(element):
    return etree.tostring(element, method='c14n').decode()


def parsed(text):
    return etree.fromstring(text.encode(), etree.XMLParser(remove_blank_text=True))


def describe(case):
    info = json.loads(case['connectionInfo'])
    secret = case['secret']
    host = mock.Mock()
    host.find_secret.return_value = secret and mock.Mock(**{'UUIDString.return_value': secret})
    if info['driver_volume_type'] != 'quobyte':
        raise LookupError('Nova would ask another driver')
    conf = quobyte.LibvirtQuobyteVolumeDriver(host).get_config(info, json.loads(case['diskInfo']))
    return canonical(parsed(conf.to_xml()))


def answer(case):
    other = None if case['xml'] is None else canonical(parsed(case['xml']))
    try:
        return {'xml': describe(case), 'error': None, 'other': other}
    except Exception as error:
        return {'xml': None, 'error': type(error).__name__, 'other': other}


def main():
    warnings.simplefilter('ignore')
    logging.disable(logging.CRITICAL)
    CONF([], project='nova', default_config_files=[])
    CONF.set_override('quobyte_mount_point_base', sys.argv[1], group='libvirt')
    json.dump([answer(case) for case in json.load(sys.stdin)], sys.stdout)


main()
