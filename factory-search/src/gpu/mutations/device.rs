//! A device that does not exist, and what a clock sees of it: L2 that is warm or cold, launches, a host, drift and noise.

use std::collections::VecDeque;

use crate::gpu::graph::Window;
use crate::gpu::poison::Poison;
use crate::gpu::secret::Stream;
use crate::gpu::state::DeviceState;

/// A kernel on it. What it writes is a number for each set of buffers, as fingerprints are.
#[derive(Clone, Copy)]
pub(super) struct Kernel {
    pub(super) name: &'static str,
    /// Seconds of an execution whose data is in memory.
    pub(super) cold: f64,
    /// Seconds of an execution whose data is in L2.
    pub(super) warm: f64,
    pub(super) habit: Habit,
}

impl Kernel {
    pub(super) const fn honest(name: &'static str, cold: f64) -> Kernel {
        Kernel { name, cold, warm: cold, habit: Habit::Honest }
    }

    pub(super) const fn with(name: &'static str, cold: f64, habit: Habit) -> Kernel {
        Kernel { habit, ..Kernel::honest(name, cold) }
    }
}

/// What a kernel does besides its work; numbers named `part` are the part of its time that it takes then.
#[derive(Clone, Copy)]
pub(super) enum Habit {
    Honest,
    /// Works on for so many seconds after the event that ends a window.
    WorksOn(f64),
    /// Is fast in the first windows of a process.
    StartsFast {
        windows: usize,
        part: f64,
    },
    /// Is fast on data that it knows.
    Knows {
        seed: u64,
        part: f64,
    },
    /// Leaves alone what looks right.
    Keeps {
        part: f64,
    },
    /// What it reads stays in L2, as far as there is room, until somebody puts it out.
    KeepsLines,
    /// Is right on the first set alone.
    FirstSetAlone {
        part: f64,
    },
    /// Is right in the first windows alone.
    RightAtFirst {
        windows: usize,
        part: f64,
    },
}

/// A window: which kernel's, how many windows of its own and of all kernels went before it in this process, and whether it
/// belongs to the second measurement.
pub(super) struct Moment {
    pub(super) kernel: usize,
    pub(super) own: usize,
    pub(super) all: usize,
    pub(super) second: bool,
}

/// The device and its surroundings.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) l2_bytes: usize,
    /// Bytes of memory for sets of buffers.
    pub(super) free: usize,
    pub(super) set_bytes: usize,
    /// Seconds between the events of a window without work.
    pub(super) window: f64,
    /// Seconds that each execution takes besides its work.
    pub(super) launch: f64,
    /// Seconds that the host needs to launch a graph.
    pub(super) host: f64,
    /// Standard deviation of a window's time, relative.
    pub(super) noise: f64,
    /// How many times as long as it should a window takes.
    pub(super) slowness: fn(&Moment) -> f64,
    /// Seconds that the host needs to see that the device is idle.
    pub(super) lag: fn(&Moment) -> f64,
    /// What the management library tells when a measurement ends.
    pub(super) after: DeviceState,
}

/// What the management library tells when a measurement begins.
pub(super) const STILL: DeviceState = DeviceState {
    sm_mhz: Some(1980),
    memory_mhz: Some(3201),
    celsius: Some(45),
    watts: Some(300.0),
    throttle: Some(0),
    other_processes: Some(0),
};

pub(super) const PLACE: Place = Place {
    l2_bytes: 60 << 20,
    free: 100 << 30,
    set_bytes: 16 << 20,
    window: 4e-6,
    launch: 0.7e-6,
    host: 50e-6,
    noise: 0.001,
    slowness: |_| 1.0,
    lag: |_| 10e-6,
    after: STILL,
};

/// The device in one process.
pub(super) struct Device {
    place: Place,
    second: bool,
    /// Seed of the data in the sets.
    seed: u64,
    random: Stream,
    /// Sets whose data is in L2, the one that was used last at the end.
    resident: VecDeque<usize>,
    /// Sets whose data stays there whatever others read.
    kept: Vec<usize>,
    /// Windows of each kernel.
    windows: Vec<usize>,
    /// What is in the output of each set.
    pub(super) outputs: Vec<u64>,
}

impl Device {
    pub(super) fn new(
        place: Place,
        second: bool,
        seed: u64,
        random: u64,
        kernels: usize,
        sets: usize,
    ) -> Device {
        Device {
            place,
            second,
            seed,
            random: Stream(random),
            resident: VecDeque::new(),
            kept: Vec::new(),
            windows: vec![0; kernels],
            outputs: vec![0; sets],
        }
    }

    /// What is right in the output of a set.
    pub(super) fn right(&self, set: usize) -> u64 {
        Stream(self.seed ^ ((set as u64 + 1) << 32)).next()
    }

    pub(super) fn poison(&mut self, poison: Poison) {
        let word = poison.word(factory_spec::DType::F32, self.random.next());
        self.outputs.fill(u64::from(word));
    }

    /// Kept data is data as any other, and all of it makes room for something else.
    pub(super) fn drop_kept_lines(&mut self) {
        self.kept.clear();
        self.resident.clear();
    }

    /// A graph of so many kernels that do nothing.
    pub(super) fn empty(&mut self, kernels: usize, head_start: f64) -> Window {
        let work = self.place.launch * kernels as f64;
        self.events(work, 1.0, 0.0, head_start)
    }

    /// A graph of a kernel on these sets.
    pub(super) fn window(
        &mut self,
        index: usize,
        kernel: &Kernel,
        sets: &[usize],
        head_start: f64,
    ) -> Window {
        let (own, all) = (self.windows[index], self.windows.iter().sum());
        let moment = Moment { kernel: index, own, all, second: self.second };
        self.windows[index] += 1;
        let work = sets.iter().map(|&set| self.execution(kernel, own, set) + self.place.launch).sum();
        let mut lag = (self.place.lag)(&moment);
        if let Habit::WorksOn(seconds) = kernel.habit {
            lag += seconds;
        }
        self.events(work, (self.place.slowness)(&moment), lag, head_start)
    }

    /// What events say of work: what the host does after the head start is between them too.
    fn events(&mut self, work: f64, slowness: f64, lag: f64, head_start: f64) -> Window {
        // Twelve numbers from 0 to 1 add up to something with the deviation 1.
        let uniform = |random: &mut Stream| random.next() as f64 / u64::MAX as f64;
        let error: f64 = (0..12).map(|_| uniform(&mut self.random)).sum::<f64>() - 6.0;
        let late = (self.place.host - head_start).max(0.0);
        let seconds = work * slowness * (1.0 + self.place.noise * error) + self.place.window + late;
        Window { seconds, lag, host: self.place.host }
    }

    /// Seconds of an execution.
    fn execution(&mut self, kernel: &Kernel, window: usize, set: usize) -> f64 {
        let is_warm = self.resident.contains(&set) || self.kept.contains(&set);
        let seconds = if is_warm { kernel.warm } else { kernel.cold };
        let room = self.kept.len() * self.place.set_bytes < self.place.l2_bytes;
        if matches!(kernel.habit, Habit::KeepsLines) && room && !self.kept.contains(&set) {
            self.kept.push(set);
        }
        self.resident.retain(|&other| other != set);
        self.resident.push_back(set);
        while self.resident.len() * self.place.set_bytes > self.place.l2_bytes {
            self.resident.pop_front();
        }
        let right = self.right(set);
        let (part, output) = match kernel.habit {
            Habit::StartsFast { windows, part } if window < windows => (part, right),
            Habit::Knows { seed, part } if seed == self.seed => (part, right),
            Habit::Keeps { part } if self.outputs[set] == right => (part, right),
            Habit::FirstSetAlone { part } => (part, if set == 0 { right } else { !right }),
            Habit::RightAtFirst { windows, part } if window >= windows => (part, !right),
            _ => (1.0, right),
        };
        self.outputs[set] = output;
        seconds * part
    }
}
