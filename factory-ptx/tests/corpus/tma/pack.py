"""Packs what recorder.cpp wrote: pack.py FOLDER RESULT… writes FOLDER/cases.txt (with answers' lengths) and answers.bin.

A case that the GPU refused has a word instead of a length: `refused` by the driver's encoder, `misaligned` or
`undefined_operand` where the copy ended in an illegal instruction.
"""

import pathlib
import struct
import sys

LONGEST = 50_000


def pack(data):
    """Pieces of a literal and a run: u16 length, bytes, u16 length, byte."""
    packed, at = b"", 0
    while at < len(data):
        start, end = at, at
        while start < len(data) and start - at <= LONGEST:
            end = start
            while end < len(data) and data[end] == data[start] and end - start < 60_000:
                end += 1
            if end - start >= 8 or end == len(data):
                break
            start = end
        run = end - start if start < len(data) and (end - start >= 8 or end == len(data)) else 0
        value = data[start] if run else 0
        packed += struct.pack("<H", start - at) + data[at:start] + struct.pack("<HB", run, value)
        at = start + run
    return packed


def main(folder, results):
    folder = pathlib.Path(folder)
    answered = {}
    for result in results:
        for line in pathlib.Path(result).read_text().splitlines():
            if line and not line.startswith("#"):
                name, status, *rest = line.split()
                answered[name] = (status, bytes.fromhex(rest[0]) if rest else b"")
    lines, blob = [], b""
    for line in (folder / "cases.txt").read_text().splitlines():
        name = line.split(" ")[0]
        if line.startswith("#") or name not in answered:
            lines.append(line)
            continue
        status, data = answered[name]
        case = line.split(" answer=")[0]
        if status == "0":
            lines.append(f"{case} answer={len(data)}")
            blob += pack(data)
        elif status == "launch715":
            lines.append(case + (" answer=undefined_operand" if "negative" in name else " answer=misaligned"))
        elif status.startswith("encode"):
            lines.append(case + " answer=refused")
        else:
            sys.exit(f"{name}: {status} is no answer")
    (folder / "cases.txt").write_text("\n".join(lines) + "\n")
    (folder / "answers.bin").write_bytes(blob)


main(sys.argv[1], sys.argv[2:])
