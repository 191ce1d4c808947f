"""Builds the package with nothing but Python's own library (PEP 517, PEP 660).

Comes in: pyproject.toml beside this directory, of which only the few lines that this package has are understood. Goes out:
a wheel. Nothing is downloaded, and nothing outside the package's own directory is read.
"""

import base64
import hashlib
import os
import re
import tarfile
import zipfile

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_PACKAGE = "fairlead_nova"
# A wheel's members carry this time (the earliest that zip can say), so that equal sources make equal wheels.
_TIME = (1980, 1, 1, 0, 0, 0)


def get_requires_for_build_wheel(config_settings=None):
    return []


get_requires_for_build_editable = get_requires_for_build_wheel
get_requires_for_build_sdist = get_requires_for_build_wheel


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    """A wheel of the package; returns its file name (PEP 517)."""
    members = {
        f"{_PACKAGE}/{name}": _read(_PACKAGE, name)
        for name in sorted(os.listdir(os.path.join(_ROOT, _PACKAGE)))
        if name.endswith(".py")
    }
    return _write_wheel(wheel_directory, members)


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    """A wheel that only points to this directory (PEP 660)."""
    return _write_wheel(wheel_directory, {f"{_PACKAGE}.pth": (_ROOT + "\n").encode()})


def build_sdist(sdist_directory, config_settings=None):
    """The sources (PEP 517)."""
    facts = _facts()
    stem = f"{_PACKAGE}-{facts['version']}"
    info = os.path.join(sdist_directory, "PKG-INFO")
    with open(info, "wb") as file:
        file.write(_metadata(facts))
    with tarfile.open(os.path.join(sdist_directory, f"{stem}.tar.gz"), "w:gz") as archive:
        archive.add(info, f"{stem}/PKG-INFO")
        for part in ("pyproject.toml", "README.md", "build_backend", _PACKAGE, "tests"):
            archive.add(os.path.join(_ROOT, part), f"{stem}/{part}", filter=_no_caches)
    os.remove(info)
    return f"{stem}.tar.gz"


def _write_wheel(directory, members):
    facts = _facts()
    info = f"{_PACKAGE}-{facts['version']}.dist-info"
    members[f"{info}/METADATA"] = _metadata(facts)
    members[f"{info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: fairlead_build\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    members[f"{info}/entry_points.txt"] = facts["entry_points"].encode()
    record = [f"{path},{_digest(content)},{len(content)}" for path, content in members.items()]
    members[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""]).encode()
    name = f"{_PACKAGE}-{facts['version']}-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(directory, name), "w", zipfile.ZIP_DEFLATED) as wheel:
        for path, content in members.items():
            member = zipfile.ZipInfo(path, _TIME)
            member.external_attr = 0o100644 << 16
            wheel.writestr(member, content)
    return name


def _facts():
    """What pyproject.toml says; Python 3.9 has no parser for it, so each line that counts is looked for by its name."""
    text = _read("pyproject.toml").decode()
    facts = {key: _only(text, rf'^{key} = "([^"]+)"$') for key in ("name", "version", "description", "requires-python")}
    facts["entry_points"] = "[console_scripts]\n{}\n\n[oslo.config.opts]\n{}\n".format(
        _entry(text, r"project\.scripts"), _entry(text, r'project\.entry-points\."oslo\.config\.opts"')
    )
    return facts


def _entry(text, table):
    return _only(text, rf'^\[{table}\]\n([\w-]+ = "[^"]+")$').replace('"', "")


def _only(text, pattern):
    found = re.findall(pattern, text, re.MULTILINE)
    if len(found) != 1:
        raise ValueError(f"pyproject.toml must have exactly one match for {pattern}")
    return found[0]


def _metadata(facts):
    return (
        "Metadata-Version: 2.1\n"
        f"Name: {facts['name']}\n"
        f"Version: {facts['version']}\n"
        f"Summary: {facts['description']}\n"
        f"Requires-Python: {facts['requires-python']}\n"
        "License: Apache-2.0\n"
        "Description-Content-Type: text/markdown\n\n"
    ).encode() + _read("README.md")


def _digest(content):
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def _read(*path):
    with open(os.path.join(_ROOT, *path), "rb") as file:
        return file.read()


def _no_caches(member):
    return None if "__pycache__" in member.name else member
