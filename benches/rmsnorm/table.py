"""The table that comes last, from the results."""

import math


def best_peer(providers):
    """The fastest of those who compute something, the project aside, and are right."""
    found = [(one["median_ms"], name) for name, one in providers.items() if one.get("right") and name not in ("sealed", "copy")]
    return min(found) if found else (None, None)


def rows(results):
    for shape in results["shapes"]:
        providers = shape["providers"]
        ours = providers.get("sealed", {})
        ours = ours.get("median_ms") if ours.get("right") else None
        ceiling = providers.get("copy", {}).get("median_ms")
        peer, name = best_peer(providers)
        yield {
            "part": shape["part"],
            "shape": f"{shape['m']} x {shape['n']}",
            "bytes": shape["moved_bytes"],
            "ceiling": ceiling,
            "ours": ours,
            "peer": peer,
            "name": name,
            "quack": providers.get("quack", {}).get("median_ms"),
            # How many times as fast as the best peer; below 1 is a loss.
            "against": peer / ours if peer and ours else None,
            "share": ceiling / ours if ceiling and ours else None,
        }


def _mean(values):
    values = [one for one in values if one]
    return f"{math.exp(sum(map(math.log, values)) / len(values)):.3f} ({len(values)} shapes)" if values else "-"


def print_table(results):
    parts = {}
    for row in rows(results):
        parts.setdefault(row["part"], []).append(row)
    number = lambda value, digits: "-" if value is None else f"{value:.{digits}f}"
    for part, found in parts.items():
        # Losses first; before them what failed or was wrong.
        found.sort(key=lambda row: row["against"] or 0.0)
        print(f"\n{part}: peer/ours below 1 is a loss; times in ms")
        print(f"{'M x N':>15} {'ceiling':>9} {'ours':>9} {'TB/s':>5} {'peer/ours':>9} {'ceil/ours':>9} {'best peer':>9}  which")
        for row in found:
            rate = row["bytes"] / row["ours"] / 1e9 if row["ours"] else None
            print(
                f"{row['shape']:>15} {number(row['ceiling'], 5):>9} {number(row['ours'], 5):>9} {number(rate, 2):>5}"
                f" {number(row['against'], 3):>9} {number(row['share'], 3):>9} {number(row['peer'], 5):>9}  {row['name'] or '-'}"
            )
        print(f"  geometric means: best peer/ours {_mean([row['against'] for row in found])},", end=" ")
        print(f"QuACK/ours {_mean([row['quack'] / row['ours'] if row['quack'] and row['ours'] else None for row in found])},", end=" ")
        print(f"ceiling/ours {_mean([row['share'] for row in found])}")
    wrong = [
        f"{shape['part']} {shape['m']} x {shape['n']} {name}: " + (one.get("error") or f"wrong: {one['errors']}")[:110]
        for shape in results["shapes"]
        for name, one in shape["providers"].items()
        if not one.get("right") and not (one.get("error") or "").startswith("not tried")
    ]
    if wrong:
        print("\nfailed, or wrong:")
        print("\n".join(wrong[:25] + ([f"… and {len(wrong) - 25} more"] if len(wrong) > 25 else [])))
    if results.get("stopped"):
        print(f"\nnot complete: {results['stopped']}")
