"""Every configuration of a space timed once, the best again, and a few side by side."""

import random
import statistics
import time

from device import DriverError
from space import key

# A configuration whose single call takes so many times the fastest single call so far is not timed in a window.
HOPELESS = 1.5


def window_calls(bench, milliseconds, least, most):
    """Calls of a window of at least so many milliseconds: whole rounds over all sets."""
    rounds = max(1, -(-int(1000 * least) // max(1, int(1000 * milliseconds * bench.count))))
    return bench.count * min(rounds, max(1, most // bench.count))


def sweep(bench, kernel, compiled, configurations, deadline):
    """One row for each configuration in the order in which the compilers are ready, and the cubins by number.

    Each is checked against the reference, called twice alone, and, unless that was hopeless, timed in three windows.
    """
    rows, cubins, fastest, lost = [], {}, float("inf"), None
    for number, cubin, log, seconds in compiled:
        if time.monotonic() > deadline:
            lost = "out of time"
            break
        row = {"number": number, "key": key(configurations[number]), "compile_seconds": round(seconds, 4)}
        rows.append(row)
        if cubin is None:
            row["error"] = log[:2000]
            continue
        cubins[number] = cubin
        handle = None
        try:
            handle = bench.load(configurations[number], cubin)
            row["registers"], row["local_bytes"] = handle.registers, handle.local_bytes
            row["right"], row["off"] = bench.check(handle)
            singles = [bench.once(handle), bench.once(handle)]
            single = min(singles)
            row["singles"] = singles
            if single > HOPELESS * fastest:
                row["ms"], row["basis"] = single, "single"
            else:
                window = bench.window(handle, window_calls(bench, single, 0.4, 24))
                bench.time(window)
                row["samples"] = [bench.time(window) for _ in range(3)]
                row["ms"], row["basis"] = statistics.median(row["samples"]), "window"
                bench.drop(window)
            if row["right"]:
                fastest = min(fastest, single)
        except DriverError as error:
            row["error"] = str(error)
            if error.lost:
                lost = f"the context is lost: {error}"
                break
        finally:
            if handle is not None and lost is None:
                bench.unload(handle)
    return rows, cubins, lost


def timed(rows):
    """Rows with a right output and a time, fastest first."""
    return sorted((row for row in rows if row.get("right") and "ms" in row), key=lambda row: row["ms"])


def race(bench, entries, rounds, least=2.0):
    """Times entries (label, configuration, cubin) in turn: the order is turned by one place each round and every other
    round runs backwards. Outputs are checked before and after, on every set. Seconds that a graph needs to get going are
    small beside a window of `least` milliseconds and the same for all."""
    handles, windows, report = [], [], {}
    for label, configuration, cubin in entries:
        handle = bench.load(configuration, cubin)
        before = [bench.check(handle, number) for number in range(bench.count)]
        single = min(bench.once(handle) for _ in range(3))
        window = bench.window(handle, window_calls(bench, single, least, 4096))
        bench.time(window)
        handles.append(handle)
        windows.append(window)
        report[label] = {
            "configuration": configuration,
            "registers": handle.registers,
            "local_bytes": handle.local_bytes,
            "calls_a_window": window[1],
            "right_before": all(right for right, _ in before),
            "off": max(off for _, off in before),
            "samples_ms": [],
        }
    order = list(range(len(entries)))
    for number in range(rounds):
        turned = order[number % len(order):] + order[: number % len(order)]
        for position in turned if number % 2 == 0 else reversed(turned):
            report[entries[position][0]]["samples_ms"].append(bench.time(windows[position]))
    for (label, *_), handle, window in zip(entries, handles, windows):
        after = [bench.check(handle, number) for number in range(bench.count)]
        one = report[label]
        one["right_after"] = all(right for right, _ in after)
        one["ms"] = statistics.median(one["samples_ms"])
        bench.drop(window)
        bench.unload(handle)
    return report


def ratio(over, under, draws=2000, seed=1):
    """The ratio of medians of two lists of samples of the same rounds, with the 95 % interval of a bootstrap over rounds."""
    drawn, generator = [], random.Random(seed)
    for _ in range(draws):
        picks = [generator.randrange(len(over)) for _ in over]
        drawn.append(statistics.median(over[pick] for pick in picks) / statistics.median(under[pick] for pick in picks))
    drawn.sort()
    return {
        "ratio": statistics.median(over) / statistics.median(under),
        "low": drawn[int(0.025 * draws)],
        "high": drawn[int(0.975 * draws)],
    }


def by_chance(rows, share, draws=2000, seed=1):
    """How far from the best the best of a random `share` of the space is: median and 95th percentile, as ratios."""
    times = [row["ms"] for row in timed(rows)]
    if not times:
        return None
    generator, best = random.Random(seed), times[0]
    count = max(1, int(share * len(rows)))
    found = sorted(min(generator.choices(times, k=count)) / best for _ in range(draws))
    return {"share": share, "median": found[draws // 2], "p95": found[int(0.95 * draws)]}
