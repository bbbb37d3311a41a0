#!/usr/bin/env python3
"""Checks the reader of plans against every plan of kernels/rmsnorm, without a GPU: run it after kernels were sealed again."""

import json
import sys

import sealed
import sizes

EVALUATED = [
    ("7 / 2", 3), ("-7 / 2", -3), ("7 / -2", -3), ("-7 % 3", -1), ("7 % -3", 1), ("ceil_div(7, 2)", 4),
    ("ceil_div(-7, 2)", -3), ("ceil_div(-7, -2)", 4), ("ceil_div(6, 3)", 2), ("min(3, 2, 5)", 2), ("max(3, n)", 10),
    ("next_pow2(5)", 8), ("next_pow2(0)", 1), ("next_pow2(8)", 8), ("1 + 2 * 3 - 4", 3), ("not 0 and 3", 1),
    ("not m == 2", 0), ("0 or n >= 10", 1), ("m == 2 and n == 10", 1), ("0 and 1 / 0", 0), ("1 or 1 / 0", 1), ("-(5)", -5),
]  # fmt: skip
REFUSED = [
    "1 < 2 < 3", "m // 2", "m ** 2", "m & 1", "f(m)", "ceil_div(1)", "next_pow2(1, 2)", "m.n", "'m'", "True", "1.5", "m if n else 1",
    "[m]", "min(m, n=2)", "", "1 / 0", "k", "9223372036854775807 + 1", "__import__('os')",
]  # fmt: skip
ROWS = [0, 1, 2, 3, 7, 16, 128, 2048, 8192, 16384, 16385, 32768, 92681, 92682, 1000003, 2147483647]
LENGTHS = [
    1, 2, 4, 7, 8, 100, 128, 256, 512, 1000, 1024, 2048, 4096, 5120, 6144, 7168, 8192, 16384, 32768, 65536, 65544, 131072, 262144,
]  # fmt: skip
# No device holds a tensor of more; beyond it, some grids have more blocks than a launch may have.
MOST_ELEMENTS = 1 << 40


def check_language():
    for text, expected in EVALUATED:
        found = sizes.evaluate(text, {"m": 2, "n": 10})
        assert found == expected, f"`{text}` is {found}, not {expected}"
    for text in REFUSED:
        try:
            sizes.evaluate(text, {"m": 2, "n": 10})
        except sizes.SizeError:
            continue
        raise AssertionError(f"`{text}` was not refused")


def check_plan(folder, arch):
    kernel, seen = sealed.Sealed(folder, arch), set()
    # Entries that launches name are in the PTX.
    ptx = (folder / kernel.target["ptx"]).read_text()
    for variant in kernel.target["variants"]:
        for launch in variant["launches"]:
            assert f".entry {launch['entry']}(" in ptx, (folder, launch["entry"])
    for m in ROWS:
        for n in LENGTHS:
            if m * n > MOST_ELEMENTS:
                continue
            # Rows without gaps, where there are strides.
            values = {"m": m, "n": n, "xs": n, "ys": n}
            # Every condition has a value everywhere; everything else where its variant is the one that is launched.
            for variant in kernel.target["variants"]:
                assert sizes.evaluate(variant["when"], values) in (0, 1)
            variant = kernel.variant(values)
            seen.add(variant["name"])
            for one in variant["scratch"]:
                assert 0 <= sizes.evaluate(one["bytes"], values), (folder, variant["name"], values)
            for launch in variant["launches"]:
                grid = [sizes.evaluate(one, values) for one in launch["grid"]]
                assert all(count % cluster == 0 for count, cluster in zip(grid, launch["cluster"])), (folder, launch, values)
                fits = grid[0] < 1 << 31 and max(grid[1:]) < 1 << 16 and min(grid) >= 0
                assert fits, (folder, variant["name"], launch["grid"], values)
                assert 0 <= sizes.evaluate(launch["shared_bytes"], values) <= 227 * 1024
                for param in launch["params"]:
                    if "size" in param:
                        value = sizes.evaluate(param["size"]["value"], values)
                        assert abs(value) < 1 << (8 * param["size"]["bytes"] - 1), (folder, param, values)
    return {variant["name"] for variant in kernel.target["variants"]} - seen


def main():
    check_language()
    plans, idle = 0, 0
    for path in sorted(sealed.KERNELS.glob("*/*/plan.json")):
        for target in json.loads(path.read_text())["targets"]:
            never = check_plan(path.parent, target["arch"])
            idle += len(never)
            plans += 1
            if never and "-v" in sys.argv:
                print(f"{path.parent.parent.name}/{path.parent.name} {target['arch']}: not chosen at any size tried: {sorted(never)}")
    pairs = sum(m * n <= MOST_ELEMENTS for m in ROWS for n in LENGTHS)
    print(f"{plans} plans at {pairs} sizes each: one variant chosen everywhere; {idle} variants chosen at none of them")


if __name__ == "__main__":
    main()
