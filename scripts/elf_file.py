"""What an ELF file says of itself: the machine it is for, the versions of libraries it needs, its soname, its symbols.

Only as much as build.sh has to know before anything is installed, so with Python's own library alone. Static libraries
are read as far as their list of symbols and their first object.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass, field
from pathlib import Path

MACHINES = {
    3: "x86 (32 bit)",
    21: "PowerPC 64",
    22: "S/390",
    40: "ARM (32 bit)",
    62: "x86-64",
    183: "AArch64",
    243: "RISC-V",
}
_UNAMES = {"x86_64": "x86-64", "amd64": "x86-64", "aarch64": "AArch64", "arm64": "AArch64", "riscv64": "RISC-V"}
_SHT_STRTAB, _SHT_DYNAMIC, _SHT_DYNSYM = 3, 6, 11
_SHT_VERDEF, _SHT_VERNEED = 0x6FFFFFFD, 0x6FFFFFFE
_DT_NEEDED, _DT_SONAME = 1, 14
_ET_DYN = 3


class ElfError(Exception):
    """The file is not what it should be; the text continues "FILE …"."""


@dataclass
class ElfFile:
    machine: str
    shared: bool
    soname: str = ""
    needed: list[str] = field(default_factory=list)
    # "GLIBCXX_3.4.21" and the like: needed of other libraries, and offered by this one.
    versions_needed: set[str] = field(default_factory=set)
    versions_offered: set[str] = field(default_factory=set)
    cxx11_strings: bool | None = None  # the C++ ABI; None: nothing in it tells


def machine_of(uname: str) -> str:
    return _UNAMES.get(uname, uname)


def read_elf(path: Path) -> ElfFile:
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            if size == 0:
                raise ElfError("is empty")
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)  # some have hundreds of megabytes
    except OSError as error:
        raise ElfError(f"cannot be read: {error.strerror}") from error
    try:
        return _archive(content) if content[:8] == b"!<arch>\n" else _object(content)
    except (struct.error, IndexError, ValueError) as error:
        raise ElfError(f"is truncated or damaged ({size} bytes)") from error


def newest(versions: set[str], family: str) -> str:
    """The highest FAMILY_x.y.z, or an empty text."""
    return max(
        (name for name in versions if version_number(name, family)),
        key=lambda name: version_number(name, family),
        default="",
    )


def version_number(name: str, family: str) -> tuple[int, ...]:
    head, _, number = name.partition("_")
    parts = number.split(".")
    return tuple(map(int, parts)) if head == family and all(part.isdigit() for part in parts) else ()


def _object(content: bytes | mmap.mmap) -> ElfFile:
    if content[:4] != b"\x7fELF":
        raise ElfError(f"is not an ELF file ({len(content)} bytes); a linker script or a broken download?")
    order = "<" if content[5] == 1 else ">"
    kind, machine = struct.unpack_from(f"{order}HH", content, 16)
    elf = ElfFile(MACHINES.get(machine, f"ELF machine {machine}"), kind == _ET_DYN)
    if content[4] == 2:  # 64 bits; of others only the machine is of interest: they are refused
        _read_sections(content, order, elf)
    return elf


def _read_sections(content: bytes | mmap.mmap, order: str, elf: ElfFile) -> None:
    (table,) = struct.unpack_from(f"{order}Q", content, 40)
    size, count = struct.unpack_from(f"{order}HH", content, 58)
    sections = [struct.unpack_from(f"{order}IIQQQQIIQQ", content, table + i * size) for i in range(count)]

    def strings_of(link: int) -> bytes:
        return content[sections[link][4] : sections[link][4] + sections[link][5]]

    for _, kind, _, _, offset, length, link, info, _, entry in sections:
        if kind == _SHT_DYNAMIC:
            strings = strings_of(link)
            for place in range(offset, offset + length, entry or 16):
                tag, value = struct.unpack_from(f"{order}QQ", content, place)
                if tag == _DT_NEEDED:
                    elf.needed.append(_text(strings, value))
                elif tag == _DT_SONAME:
                    elf.soname = _text(strings, value)
        elif kind == _SHT_VERNEED:
            elf.versions_needed |= set(_needed_versions(content, order, offset, info, strings_of(link)))
        elif kind == _SHT_VERDEF:
            elf.versions_offered |= set(_offered_versions(content, order, offset, info, strings_of(link)))
        elif kind == _SHT_DYNSYM:
            elf.cxx11_strings = _cxx11(strings_of(link))


def _needed_versions(content: bytes | mmap.mmap, order: str, place: int, count: int, strings: bytes) -> list[str]:
    names = []
    for _ in range(count):
        _, entries, _, first, following = struct.unpack_from(f"{order}HHIII", content, place)
        entry = place + first
        for _ in range(entries):
            _, _, _, name, after = struct.unpack_from(f"{order}IHHII", content, entry)
            names.append(_text(strings, name))
            entry += after
        place += following
    return names


def _offered_versions(content: bytes | mmap.mmap, order: str, place: int, count: int, strings: bytes) -> list[str]:
    names = []
    for _ in range(count):
        _, _, _, _, _, first, following = struct.unpack_from(f"{order}HHHHIII", content, place)
        (name,) = struct.unpack_from(f"{order}I", content, place + first)
        names.append(_text(strings, name))
        place += following
    return names


def _archive(content: bytes | mmap.mmap) -> ElfFile:
    """A static library: a list of symbols, then members, each with 60 bytes before it."""
    place, symbols, elf = 8, b"", None
    while place + 60 <= len(content) and elf is None:
        name, size = content[place : place + 16].rstrip(), int(content[place + 48 : place + 58])
        member = content[place + 60 : place + 60 + size]
        if name == b"/":
            (count,) = struct.unpack_from(">I", member)
            symbols = member[4 + 4 * count :]
        elif member[:4] == b"\x7fELF":
            elf = _object(member)
        place += 60 + size + size % 2
    if elf is None:
        raise ElfError("is a static library without an object of ELF")
    elf.cxx11_strings = _cxx11(symbols)
    return elf


def _cxx11(symbols: bytes) -> bool | None:
    """Whether the names of symbols show the present std::string of libstdc++, or the one before GCC 5."""
    if b"__cxx11" in symbols or b"B5cxx11" in symbols:
        return True
    return False if any(old in symbols for old in (b"_ZNSs", b"_ZNKSs", b"RKSs")) else None


def _text(strings: bytes, place: int) -> str:
    return strings[place : strings.index(b"\0", place)].decode()
