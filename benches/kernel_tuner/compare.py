#!/usr/bin/env python3
"""Kernel Tuner, `cargo factory tune` and an exhaustive sweep on the same three spaces. See README.md beside this file."""

import argparse
import json
import math
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

import space

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
STAGES = ["kt", "factory", "sweep", "kt-verified"]
# Shares of the seconds that one kernel's part of a stage gets; a sweep takes what is left and usually less.
SHARES = {"kt": 0.045, "factory": 0.07, "kt-verified": 0.02}
TOP = 20


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="results, as JSON; rewritten after every step")
    parser.add_argument("--raw", type=Path, help="folder of raw samples, logs and evidence [default: OUT without .json, + -raw]")
    parser.add_argument("--seconds", type=float, default=480.0, help="for everything [default: 480]")
    parser.add_argument("--kernels", default=",".join(space.EXPECTED), help="which of the three, with commas")
    parser.add_argument("--stages", default=",".join(STAGES), help="which of the stages, with commas, in their order")
    parser.add_argument("--templates", type=Path, default=ROOT / "examples/templated", help="the folder of the templates")
    parser.add_argument("--factory", type=Path, help="the program `cargo-factory`; without it that stage is left out")
    parser.add_argument("--factory-arguments", default="", help="further arguments of `tune`, with blanks")
    parser.add_argument("--share", type=float, default=0.10, help="of the space that the factory may consider [default: 0.1]")
    for stage, share in SHARES.items():
        text = f"for each kernel [default: {share:.1%} of --seconds]".replace("%", "%%")
        parser.add_argument(f"--{stage}-seconds", type=float, help=text)
    parser.add_argument("--cuda", type=Path, help="toolkit with NVRTC and headers [default: CUDA_HOME, /usr/local/cuda, wheels]")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="compilers of the sweep [default: all cores]")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--race-rounds", type=int, default=41)
    parser.add_argument("--dry-run", action="store_true", help="no GPU: times are made up, a sample is compiled where NVRTC is found")
    parser.add_argument("--compile-sample", type=int, default=8, help="configurations of each kernel that a dry run compiles")
    return parser.parse_args()


class Run:
    def __init__(self, options):
        self.options, self.start = options, time.monotonic()
        self.raw = (options.raw or options.out.with_name(options.out.stem + "-raw")).resolve()
        self.raw.mkdir(parents=True, exist_ok=True)
        wanted = options.kernels.split(",")
        self.kernels = {name: kernel for name, kernel in space.load(options.templates).items() if name in wanted}
        assert len(self.kernels) == len(wanted), f"known are {', '.join(space.EXPECTED)}"
        self.results = {
            "format": 1,
            "dry_run": options.dry_run,
            "arguments": {name: str(value) for name, value in vars(options).items()},
            "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "seconds_by_step": {},
            "errors": [],
            "kernels": {name: {"sizes": one.sizes, "configurations": space.EXPECTED[name]} for name, one in self.kernels.items()},
        }
        self.gpu = self.pool = self.nvrtc = None
        self.save()

    def left(self):
        return self.options.seconds - (time.monotonic() - self.start)

    def save(self):
        temporary = self.options.out.with_suffix(".tmp")
        temporary.write_text(json.dumps(self.results, indent=1))
        os.replace(temporary, self.options.out)

    def keep(self, name, value):
        (self.raw / name).write_text(json.dumps(value))

    def say(self, text):
        print(f"[{time.monotonic() - self.start:6.1f} s] {text}", flush=True)

    def step(self, name, function, *arguments):
        """Runs a step; what goes wrong in it is written down and the others go on."""
        begin = time.monotonic()
        self.say(name)
        try:
            function(*arguments)
        except Exception as error:  # noqa: BLE001
            self.results["errors"].append({"step": name, "error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()})
            self.say(f"{name}: {type(error).__name__}: {error}")
        self.results["seconds_by_step"][name] = round(time.monotonic() - begin, 2)
        self.save()

    def seconds_of(self, stage):
        given = getattr(self.options, stage.replace("-", "_") + "_seconds")
        return given if given is not None else SHARES[stage] * self.options.seconds

    def find_compiler(self):
        import nvrtc

        if self.nvrtc is None:
            try:
                self.nvrtc = nvrtc.find(self.options.cuda)
            except FileNotFoundError:
                if not self.options.dry_run:
                    raise
                self.nvrtc = (None, [])
        return self.nvrtc

    # Kernel Tuner

    def kernel_tuner(self, verified):
        """All three searches in one process; another one is started for what a dead one left over."""
        stage = "kt-verified" if verified else "kt"
        seconds, seed = self.seconds_of(stage), self.options.seed + (100 if verified else 0)
        if verified:
            # It comes last, and gets what is left when others took longer; a process takes a while to start.
            seconds = min(seconds, (self.left() - 20) / len(self.kernels) - 4)
            assert seconds >= 3, f"{self.left():.0f} s are left, too few"
        library, includes = self.find_compiler()
        files = {name: self.raw / f"{stage}-{name}.json" for name in self.kernels}
        for file in files.values():
            file.unlink(missing_ok=True)
        jobs = [(name, verified, seconds, seed, str(file)) for name, file in files.items()]
        limit = time.monotonic() + len(jobs) * (seconds + 20) + 40
        context = multiprocessing.get_context("spawn")
        target = (str(self.options.templates), jobs, str(library or ""), [str(one) for one in includes],
                  str(self.raw / "kernel-tuner"), self.options.dry_run)
        for _ in jobs:
            process = context.Process(target=_kernel_tuner, args=target)
            process.start()
            process.join(max(1.0, limit - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()
            if all(file.exists() for file in files.values()) or time.monotonic() > limit:
                break
        for name, file in files.items():
            found = json.loads(file.read_text()) if file.exists() else {"exceptions": ["no time was left for it"]}
            short = {key: value for key, value in found.items() if key not in ("rows", "seen", "environment")}
            self.results["kernels"][name]["kernel_tuner" + ("_verified" if verified else "")] = short
            rate = found.get("steady_a_minute")
            self.say(f"  {name}: " + (f"{rate:.0f} configurations a minute" if rate else f"{found['exceptions']}"))

    # The factory

    def factory(self, name):
        options, kernel = self.options, self.kernels[name]
        folder = self.raw / f"factory-{name}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        candidates, seconds = math.floor(options.share * space.EXPECTED[name]), self.seconds_of("factory")
        records, evidence = folder / "records.json", folder / "evidence.sqlite"
        command = [str(options.factory.resolve()), "factory", "tune", str(kernel.spec_path.resolve()), "--dir",
                   str(options.templates.resolve()), "--template", str(kernel.template_path.resolve()),
                   "--candidates", str(candidates), "--seconds", f"{seconds:.0f}", "--seed", str(options.seed),
                   "--evidence", str(evidence), "--records", str(records), "--no-seal", "--json"]
        command += options.factory_arguments.split()
        if options.dry_run:
            command += ["--gpu", "off"]
        # An empty cache and empty evidence: nothing is known and nothing is compiled beforehand.
        environment = {**os.environ, "KERNEL_FACTORY_CACHE_DIR": str(folder / "cache")}
        if options.dry_run and (library := self.find_compiler()[0]):
            environment.setdefault("KERNEL_FACTORY_NVRTC", str(library))
        begin = time.monotonic()
        with open(folder / "out.json", "w") as out, open(folder / "err.txt", "w") as err:
            process = subprocess.Popen(command, stdout=out, stderr=err, env=environment, start_new_session=True)
            try:
                code = process.wait(1.6 * seconds + 30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                code = f"killed after {process.wait() and time.monotonic() - begin:.0f} s"
        wall = time.monotonic() - begin
        result = self.results["kernels"][name]["factory"] = {
            "command": command, "exit": code, "asked_seconds": seconds, "candidates": candidates, "wall_seconds": wall,
        }
        if records.exists():
            result.update(read_factory(kernel, json.loads(records.read_text()), wall))
            result["summary"] = json.loads((folder / "out.json").read_text())
        result.update(read_log(folder / "cache/logs"))
        if code != 0:
            raise RuntimeError(f"exit {code}: {(folder / 'err.txt').read_text()[-1500:]}")
        # Without a compiler the factory searches with its generator alone, and says so in its log only.
        assert result.get("considered_of_template"), "no configuration of the template was considered"
        self.say(f"  {name}: {result['considered']} considered, {result['considered_of_template']} of the template, {result['measured']} measured in {wall:.1f} s")

    # The sweep

    def prepare_sweep(self):
        import device
        import nvrtc

        self.gpu = device.FakeGpu() if self.options.dry_run else device.Gpu()
        library, includes = self.find_compiler()
        if library is not None:
            nvrtc.start(library, includes, self.gpu.arch)
            self.new_pool()
        self.results["sweep"] = {
            **self.gpu.describe(), "nvrtc": str(library), "version": library and nvrtc.version(), "processes": self.options.processes,
        }

    def new_pool(self):
        import nvrtc

        if self.pool is not None:
            self.pool.close()
        self.pool = nvrtc.Pool(*self.nvrtc, self.gpu.arch, self.options.processes)

    def compiled(self, texts):
        if not self.options.dry_run:
            return self.pool.compile(texts)
        sample = random.Random(self.options.seed).sample(range(len(texts)), min(self.options.compile_sample, len(texts)))
        done = {}
        if self.pool is not None:
            done = {sample[number]: rest for number, *rest in self.pool.compile([texts[number] for number in sample])}
        return ((number, *done.get(number, (b"", "", 0.0))) for number in range(len(texts)))

    def sweep(self, name, later):
        import sweep

        kernel, options = self.kernels[name], self.options
        configurations = kernel.configurations()
        # Compilers give results in the order of the list: what is near in it is alike, so it is shuffled.
        random.Random(options.seed).shuffle(configurations)
        # For the races, the sweeps that follow, and some of what comes last.
        reserve = 10 + 30 * later + (25 if "kt-verified" in options.stages.split(",") else 0)
        allowed = max(15.0, self.left() - reserve)
        begin = time.monotonic()
        bench = self.gpu.bench(kernel, options.seed)
        compiled = self.compiled([kernel.text(one) for one in configurations])
        rows, cubins, lost = sweep.sweep(bench, kernel, compiled, configurations, begin + allowed)
        seconds = time.monotonic() - begin
        if lost is not None and self.pool is not None:
            self.new_pool()
        self.keep(f"sweep-{name}.json", {"configurations": configurations, "rows": rows, "buffers": bench.describe()})
        best = sweep.timed(rows)
        result = self.results["kernels"][name]["sweep"] = {
            "seconds": seconds,
            "complete": len(rows) == len(configurations) and lost is None,
            "stopped": lost,
            "rows": len(rows),
            "right": sum(bool(row.get("right")) for row in rows),
            "wrong": [row["key"] for row in rows if row.get("right") is False],
            "errors": [{"key": row["key"], "error": row["error"][:300]} for row in rows if "error" in row][:20],
            "in_windows": sum(row.get("basis") == "window" for row in rows),
            "compile_seconds": sum(row["compile_seconds"] for row in rows),
            "by_chance": sweep.by_chance(rows, options.share),
            "buffers": bench.describe(),
        }
        self.say(f"  {name}: {len(rows)} of {len(configurations)} in {seconds:.1f} s, {result['right']} right")
        self.save()
        top = [(row["key"], configurations[row["number"]], cubins[row["number"]]) for row in best[:TOP]]
        again = sweep.race(bench, top, 9)
        self.keep(f"top-{name}.json", again)
        bench.close()
        winner = min(again, key=lambda one: again[one]["ms"])
        result["top"] = [{"key": one, "ms": again[one]["ms"]} for one in sorted(again, key=lambda one: again[one]["ms"])]
        result["best"] = {"key": winner, "ms": again[winner]["ms"], "configuration": again[winner]["configuration"]}
        self.race(name, again[winner]["configuration"], {space.key(one): cubins.get(number) for number, one in enumerate(configurations)})

    def race(self, name, best, cubins):
        """The sweep's winner, itself again, the factory's best configuration of the template and Kernel Tuner's, on new data."""
        import sweep

        kernel, found = self.kernels[name], self.results["kernels"][name]
        entries = [("exhaustive", best), ("exhaustive_again", best)]
        if configuration := (found.get("factory") or {}).get("best_of_template"):
            entries.append(("factory", configuration["configuration"]))
        if configuration := (found.get("kernel_tuner") or {}).get("best"):
            entries.append(("kernel_tuner", configuration["configuration"]))
        ready = []
        for label, configuration in entries:
            cubin = cubins.get(space.key(configuration))
            if cubin is None:
                import nvrtc

                cubin, log, _ = nvrtc.compile_text(kernel.text(configuration))
                assert cubin is not None, f"{label}: {log}"
            ready.append((label, configuration, cubin))
        # Secret of nothing, but not the data that anything was chosen on.
        bench = self.gpu.bench(kernel, self.options.seed + 1_000_003)
        state = getattr(sys.modules["device"], "state", None)
        before = state() if state and not self.options.dry_run else None
        report = sweep.race(bench, ready, self.options.race_rounds)
        bench.close()
        self.keep(f"race-{name}.json", report)
        base = report["exhaustive"]["samples_ms"]
        found["race"] = {
            "rounds": self.options.race_rounds,
            "state_before": before,
            "state_after": state() if before else None,
            "entries": {label: {key: value for key, value in one.items() if key != "samples_ms"} for label, one in report.items()},
            "over_exhaustive": {label: sweep.ratio(one["samples_ms"], base) for label, one in report.items() if label != "exhaustive"},
        }
        for label, one in found["race"]["over_exhaustive"].items():
            self.say(f"  {name}: {label} / exhaustive = {one['ratio']:.4f} [{one['low']:.4f}, {one['high']:.4f}]")


def _kernel_tuner(templates, jobs, library, includes, folder, fake):
    """The process of `Run.kernel_tuner`."""
    import tuner

    kernels = space.load(templates)
    if fake and library:
        import nvrtc

        nvrtc.start(library, includes, "sm_90")
    tuner.main(kernels, jobs, includes, folder, fake)


def read_factory(kernel, records, wall):
    """What `--records` says."""
    (records,) = records.values()
    own = [one for one in records if one["proposer"] == "template"]
    measured = [one for one in records if (one.get("measured") or {}).get("basis") == "measured"]
    own_measured = [one for one in measured if one["proposer"] == "template"]
    modelled = [one for one in own if one["verdict"] == "pass" and one.get("modelled")]

    def shown(one, field):
        configuration = {name: one["tunables"][name] for name in kernel.tunables}
        assert kernel.allows(configuration), configuration
        return {"configuration": configuration, "key": space.key(configuration), "seconds": one[field]["seconds"], "basis": field}

    best = None
    if own_measured:
        best = shown(min(own_measured, key=lambda one: one["measured"]["seconds"]), "measured")
    elif modelled:
        best = shown(min(modelled, key=lambda one: one["modelled"]["seconds"]), "modelled")
    fastest = min(measured, key=lambda one: one["measured"]["seconds"], default=None)
    refused = {}
    for one in records:
        if one.get("rejection"):
            refused[one["gate"]] = refused.get(one["gate"], 0) + 1
    return {
        "considered": len(records),
        "considered_of_template": len(own),
        "measured": len(measured),
        "measured_of_template": len(own_measured),
        "refused_by_gate": refused,
        "considered_a_minute": 60 * len(records) / wall,
        "measured_a_minute": 60 * len(measured) / wall,
        "share_of_space": len(own) / space.EXPECTED[kernel.name],
        "best_of_template": best,
        # The generator competes with the template where it takes the spec; its kernels are not in the template's space.
        "fastest": fastest and {"id": fastest["id"], "proposer": fastest["proposer"], "seconds": fastest["measured"]["seconds"]},
        "compiler": own[0]["origin"].get("compiler") if own else None,
    }


def read_log(folder):
    """When phases began, when the measured best was found, and how fast rounds went, from the search's own log."""
    for path in sorted(Path(folder).glob("*.jsonl"))[-1:]:
        phases, bests, counts, batches = [], [], {}, []
        for line in path.read_text().splitlines():
            event = json.loads(line)
            counts[event["event"]] = counts.get(event["event"], 0) + 1
            if event["event"] == "phase":
                phases.append([round(event["elapsed"], 3), event["phase"]])
            elif event["event"] == "best":
                bests.append([round(event["elapsed"], 3), event])
            elif event["event"] == "timed":
                timing = event["timing"]
                # A second measurement has a seed of its own: that is the finalists, and no round.
                if timing.get("final_seed") is None:
                    batches.append({"elapsed": event["elapsed"], "candidates": len(timing["candidates"]), **timing["spent"]})
        found = {"phases": phases, "bests": bests[-12:], "events": counts, "log": str(path), "batches": batches}
        if len(batches) > 2:
            # As Kernel Tuner's: from the first result to the last one, without what comes before and after.
            seconds = batches[-1]["elapsed"] - batches[0]["elapsed"]
            found["steady_a_minute"] = 60 * sum(batch["candidates"] for batch in batches[1:]) / seconds
        return found
    return {}


def main():
    options = arguments()
    run = Run(options)
    stages = options.stages.split(",")
    assert set(stages) <= set(STAGES), f"stages are {', '.join(STAGES)}"
    try:
        if "kt" in stages:
            run.step("kt", run.kernel_tuner, False)
        for name in run.kernels:
            if "factory" in stages and options.factory:
                run.step(f"factory {name}", run.factory, name)
        if "sweep" in stages:
            run.step("prepare the sweep", run.prepare_sweep)
            for later, name in zip(reversed(range(len(run.kernels))), run.kernels):
                if run.gpu is not None:
                    run.step(f"sweep {name}", run.sweep, name, later)
        if run.pool is not None:
            run.pool.close()
            run.pool = None
        if "kt-verified" in stages:
            run.step("kt-verified", run.kernel_tuner, True)
    finally:
        if run.pool is not None:
            run.pool.close()
        run.results["seconds"] = round(time.monotonic() - run.start, 1)
        run.save()
    table(run.results)
    return 1 if run.results["errors"] else 0


def table(results):
    """A short table, last, because replies carry the end of what was printed."""
    print("DRY RUN: every number below is made up" if results["dry_run"] else results.get("sweep", {}).get("device", ""))
    print(f"{'kernel':<10} {'space':>6} {'KT/min':>8} {'KT+v/min':>8} {'cf steady':>9} {'cf/min':>8} {'cf timed/min':>12} {'best ms':>9} {'cf/best':>8} {'KT/best':>8} {'A/A':>8}")

    def number(value, form):
        return format(value, form) if isinstance(value, (int, float)) else "-"

    for name, one in results["kernels"].items():
        kt, verified, factory, race = (one.get(key) or {} for key in ("kernel_tuner", "kernel_tuner_verified", "factory", "race"))
        over = race.get("over_exhaustive", {})
        print(
            f"{name:<10} {one['configurations']:>6} {number(kt.get('steady_a_minute'), '8.0f'):>8} "
            f"{number(verified.get('steady_a_minute'), '8.0f'):>8} {number(factory.get('steady_a_minute'), '9.0f'):>9} "
            f"{number(factory.get('considered_a_minute'), '8.0f'):>8} "
            f"{number(factory.get('measured_a_minute'), '12.0f'):>12} "
            f"{number(race.get('entries', {}).get('exhaustive', {}).get('ms'), '9.5f'):>9} "
            + " ".join(f"{number(over.get(label, {}).get('ratio'), '8.4f'):>8}" for label in ("factory", "kernel_tuner", "exhaustive_again"))
        )
    for error in results["errors"]:
        print(f"error in {error['step']}: {error['error'][:300]}")


if __name__ == "__main__":
    sys.exit(main())
