#!/usr/bin/env python3
"""The sealed RMSNorm kernels beside QuACK, Liger, torch.compile and a plain copy. See README.md beside this file."""

import argparse
import datetime
import gc
import importlib.metadata
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
import traceback
from pathlib import Path

import jobs
import lab
import providers
import table

PACKAGES = ["torch", "triton", "quack-kernels", "nvidia-cutlass-dsl", "apache-tvm-ffi", "liger-kernel", "cupy-cuda13x"]
PEERS = ["sealed", "quack", "quack_tuned", "liger", "torch_compile", "copy"]
# What is kept for rounds, checks and the last write when a shape is begun close to the limit.
RESERVE = 8.0


class TooLong(BaseException):
    """A limit of time. No `Exception`, so that a tuner that takes any failure for a bad candidate does not go on."""


class Stop(BaseException):
    """SIGTERM or Ctrl-C."""


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="results, as JSON; rewritten after every shape")
    parser.add_argument("--parts", default=",".join(jobs.PARTS), help="which, in this order (default: %(default)s)")
    parser.add_argument("--providers", default=",".join(PEERS), help="who is measured (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=540.0, help="limit of the whole run")
    parser.add_argument("--prepare-seconds", type=float, default=60.0, help="limit of one provider's compilation and capture")
    parser.add_argument("--tune-seconds", type=float, default=40.0, help="the same for quack_tuned, whose search it bounds")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--resume", type=Path, help="results whose shapes are kept and not measured again")
    parser.add_argument("--dry-run", action="store_true", help="no GPU: everything but the calls, with times that are made up")
    options = parser.parse_args()
    options.parts, options.providers = options.parts.split(","), options.providers.split(",")
    if unknown := (set(options.parts) - set(jobs.PARTS)) | (set(options.providers) - set(PEERS)):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    return options


def version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def commit():
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None


def write(results, path):
    beside = path.with_suffix(".part")
    beside.write_text(json.dumps(results, indent=1) + "\n")
    beside.replace(path)


def trace():
    """The last exception's, with paths as the repository has them."""
    return traceback.format_exc()[-2000:].replace(f"{Path(__file__).resolve().parents[2]}{os.sep}", "")


def raise_too_long(*_):
    raise TooLong


def raise_stop(*_):
    raise Stop


def limited(seconds, action):
    """Runs `action`, and raises `TooLong` in it once so many seconds are over. Code outside Python is not interrupted."""
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.01))
    try:
        return action()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def end_pools():
    """Ends the processes that QuACK's tuner started to compile: they would go on after this one, and hold its output open."""
    module = sys.modules.get("quack.cache.async_compile")
    pool = getattr(module, "_shared_executor", None)
    for process in list((getattr(pool, "_processes", None) or {}).values()):
        try:
            process.kill()
        except (OSError, ValueError):
            pass


def order(windows, number):
    """One place further each round, and backwards every other round, so that nobody always follows the same one."""
    turn = number % len(windows)
    turned = windows[turn:] + windows[:turn]
    return turned[::-1] if number % 2 else turned


class Run:
    def __init__(self, options, place, results):
        self.options, self.place, self.results = options, place, results
        self.deadline = time.monotonic() + options.seconds
        self.slowest = {}

    def left(self):
        return self.deadline - time.monotonic()

    def prepare(self, bench, job, found):
        """A window for each provider that is there and works; the others' errors."""
        windows = []
        for name in jobs.PROVIDERS[job.kind]:
            if name not in self.options.providers:
                continue
            why = providers.refusal(name, job)
            if [job.part, job.m, job.n, name] in self.results["lost"]:
                why = "it broke the process's context before"
            if why:
                found[name] = {"error": why}
                continue
            limit = self.options.tune_seconds if name == "quack_tuned" else self.options.prepare_seconds
            limit, begin = min(limit, self.left() - RESERVE), time.monotonic()
            try:
                windows.append(limited(limit, lambda: bench.prepare(name)))
                found[name] = {}
            except TooLong:
                found[name] = {"error": f"not ready after {limit:.0f} s"}
            except Exception as error:
                found[name] = {"error": f"{type(error).__name__}: {error}"[:1000]}
                if not self.options.dry_run:
                    found[name]["trace"] = trace()
            # Frames of what was thrown hold tensors.
            gc.collect()
            found[name]["prepare_s"] = round(time.monotonic() - begin, 2)
            try:
                self.place.check_alive()
            except lab.Lost as error:
                self.results["lost"].append([job.part, job.m, job.n, name])
                raise lab.Lost(f"{job}, {name}: {error}") from error
        return windows

    def shape(self, job):
        found, bench = {}, self.place.bench(job)
        try:
            windows = self.prepare(bench, job, found)
            samples = {window.name: [] for window in windows}
            for number in range(self.options.rounds if windows else 0):
                if number == self.options.rounds - 1:
                    bench.poison(windows)
                for window in order(windows, number):
                    samples[window.name].append(bench.time(window))
            errors = bench.errors(windows) if windows else {}
            for window in windows:
                median = statistics.median(samples[window.name])
                found[window.name] |= {
                    "median_ms": median,
                    "tb_s": job.moved_bytes / median / 1e9,
                    "samples_ms": [round(one, 7) for one in samples[window.name]],
                    "replays": window.repeats,
                    "detail": window.detail,
                    "errors": errors[window.name],
                    "right": lab.right(job, errors[window.name]),
                }
            shape = {"part": job.part, "kind": job.kind, "dtype": job.dtype, "m": job.m, "n": job.n}
            return shape | {"moved_bytes": job.moved_bytes} | bench.describe() | {"providers": found, "state": self.place.state()}
        finally:
            bench.close()

    def all(self):
        done = {(shape["part"], shape["m"], shape["n"]) for shape in self.results["shapes"]}
        for part in self.options.parts:
            for job in jobs.jobs(part):
                if (job.part, job.m, job.n) in done:
                    continue
                # Another shape is begun if the slowest of this part so far would still fit.
                if self.left() < self.slowest.get(part, 0.0) + RESERVE:
                    self.results["stopped"] = f"{self.options.seconds:.0f} s were over before {job}"
                    return
                begin = time.monotonic()
                try:
                    shape = self.shape(job)
                except lab.Lost:
                    raise
                except Exception as error:
                    self.results["errors"].append(f"{job}: {trace()}")
                    print(f"{job}: {type(error).__name__}: {error}"[:300], file=sys.stderr, flush=True)
                    self.place.check_alive()
                else:
                    shape["seconds"] = round(time.monotonic() - begin, 2)
                    self.results["shapes"].append(shape)
                    self.say(job, shape)
                self.free()
                self.slowest[part] = max(self.slowest.get(part, 0.0), time.monotonic() - begin)
                write(self.results, self.options.out)

    def free(self):
        gc.collect()
        if not self.options.dry_run:
            self.place.torch.cuda.empty_cache()

    def say(self, job, shape):
        times = [f"{name} {one['median_ms']:.5f}" if "median_ms" in one else f"{name} -" for name, one in shape["providers"].items()]
        print(f"{job} ({shape['seconds']} s): {', '.join(times)}", file=sys.stderr, flush=True)


def begin(options, place):
    results = {
        # Where files lie is of no use to anybody else.
        "command": [Path(word).name if os.sep in word else word for word in sys.argv],
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "commit": commit(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "device": place.describe(),
        "rounds": options.rounds,
        "seed": options.seed,
        "eps": jobs.EPS,
        "shapes": [],
        "errors": [],
        "lost": [],
    }
    if options.resume and options.resume.exists():
        before = json.loads(options.resume.read_text())
        for key in ("shapes", "errors", "lost"):
            results[key] = before[key]
        # Times of several runs stand side by side in one file: which run each shape is of must stay readable.
        results["runs_before"] = before.get("runs_before", []) + [{key: before[key] for key in ("command", "date", "commit", "device")}]
    return results


def main():
    options = arguments()
    os.environ.setdefault("QUACK_COMPILE_WORKERS", str(os.cpu_count() or 8))
    signal.signal(signal.SIGALRM, raise_too_long)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, raise_stop)
    started = time.monotonic()
    place = (lab.Dry if options.dry_run else lab.Gpu)(options.seed)
    results = begin(options, place)
    run = Run(options, place, results)
    run.deadline -= time.monotonic() - started
    try:
        run.all()
    except lab.Lost as error:
        # A broken context measures nothing more, a new process does: what is done is kept, and who broke it is left out.
        results["errors"].append(f"the context was lost: {error}")
        write(results, options.out)
        print(f"the context was lost: {error}"[:500], file=sys.stderr, flush=True)
        if run.left() > 60 and len(results["lost"]) < 5:
            end_pools()
            rest = ["--resume", str(options.out), "--seconds", str(int(run.left()))]
            os.execv(sys.executable, [sys.executable, *sys.argv, *rest])
        results["stopped"] = "the context was lost"
    except Stop:
        results["stopped"] = "asked to stop"
    except TooLong:
        results["stopped"] = "a limit of time came late"
    write(results, options.out)
    table.print_table(results)
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads that wait for what was ended here are not waited for.
    end_pools()
    os._exit(0 if results["shapes"] else 1)


if __name__ == "__main__":
    main()
