"""The declarations against include/redlock.json, and the header as C tools for Python read it."""

import ctypes
import json
from pathlib import Path

import libredlock
from libredlock import _native as native

ROOT = Path(__file__).parents[3]
NUMBERS = {
    "int32_t": ctypes.c_int32,
    "redlock_status_t": ctypes.c_int32,
    "uint32_t": ctypes.c_uint32,
    "int64_t": ctypes.c_int64,
    "uint64_t": ctypes.c_uint64,
    "size_t": ctypes.c_size_t,
    "void": None,
}


def matches(c_type, declared):
    if c_type.endswith("*"):
        text = c_type in ("const char *", "const void *")
        return declared is ctypes.c_void_p or (text and declared is ctypes.c_char_p)
    return NUMBERS[c_type] is declared


def test_every_declaration_is_the_headers():
    described = {one["name"]: one for one in json.loads((ROOT / "include/redlock.json").read_text())["functions"]}
    for name, (returns, parameters) in native.FUNCTIONS.items():
        function = described[name]
        assert matches(function["returns"], returns), name
        assert len(function["parameters"]) == len(parameters), name
        for parameter, declared in zip(function["parameters"], parameters):
            assert matches(parameter["type"], declared), (name, parameter)


def test_every_constant_is_the_headers():
    constants = {one["name"]: one["value"] for one in json.loads((ROOT / "include/redlock.json").read_text())["constants"]}
    ours = [name for name in dir(native) if name.isupper() and isinstance(getattr(native, name), int) and name != "NEEDED"]
    assert len(ours) > 10
    for name in ours:
        assert constants[f"REDLOCK_{name}"] == getattr(native, name)


def test_cffi_reads_the_header():
    cffi = __import__("cffi")
    lines = (ROOT / "include/redlock.h").read_text().splitlines()
    code = [line.split("//")[0] for line in lines if not line.startswith("#") and 'extern "C"' not in line]
    ffi = cffi.FFI()
    ffi.cdef("\n".join(code))
    assert ffi.typeof("redlock_status_t").kind == "primitive"
    assert ffi.dlopen(native.lib._name).REDLOCK_E_LOST == -3


def test_the_version_is_the_librarys():
    assert libredlock.version() == json.loads((ROOT / "include/redlock.json").read_text())["version"]
