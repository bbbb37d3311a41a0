//! From counts to seconds.

use factory_ptx::machine::{Class, Counters};
use serde::{Deserialize, Serialize};

use super::Target;

/// What one launch asks of the hardware, over its whole grid.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LaunchProfile {
    /// Blocks of the grid.
    pub blocks: u64,
    /// Threads of a block.
    pub threads: u32,
    /// Blocks of a cluster.
    pub cluster: u32,
    /// Registers a thread.
    pub registers: u32,
    /// Shared memory of a block in bytes, static and dynamic.
    pub shared_bytes: u32,
    /// Warp-instructions by class.
    pub instructions: [f64; Class::ALL.len()],
    /// Bytes of the 32-byte sectors that loads touch.
    pub load_bytes: f64,
    /// Bytes of the sectors that stores touch.
    pub store_bytes: f64,
    /// Bytes of the distinct sectors that each block touches, added up over blocks.
    #[serde(default)]
    pub block_bytes: f64,
    /// Bytes of those that a block has in common with its neighbours, such as weights.
    #[serde(default)]
    pub common_bytes: f64,
    /// Passes through shared memory.
    pub shared_passes: f64,
    /// Barriers, counted once a block.
    pub barriers: f64,
    /// Bytes that asynchronous copies bring.
    pub async_bytes: f64,
    /// Round trips to memory that one warp waits for, one after the other, averaged over warps.
    pub round_trips: f64,
    /// Bytes that spilled registers move, over the whole grid.
    pub spill_bytes: f64,
}

impl LaunchProfile {
    /// Counts of a part of the blocks, scaled to the whole grid.
    pub fn scaled(counters: &Counters, factor: f64) -> LaunchProfile {
        let mut profile = LaunchProfile {
            load_bytes: counters.global_load_sectors_requested as f64 * 32.0 * factor,
            store_bytes: counters.global_store_sectors_requested as f64 * 32.0 * factor,
            shared_passes: counters.shared_passes as f64 * factor,
            barriers: counters.barriers as f64 * factor,
            async_bytes: counters.async_bytes as f64 * factor,
            shared_bytes: counters.shared_bytes,
            ..LaunchProfile::default()
        };
        for (index, class) in Class::ALL.iter().enumerate() {
            profile.instructions[index] = counters.class(*class).warp as f64 * factor;
        }
        profile
    }

    fn instructions_of(&self, class: Class) -> f64 {
        self.instructions[class as usize]
    }
}

/// How many blocks of a launch a multiprocessor holds at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occupancy {
    /// Blocks of a multiprocessor.
    pub blocks: u32,
    /// What keeps it from holding more.
    pub limit: &'static str,
}

/// How many blocks a multiprocessor holds; 0 when a block fits none.
pub fn occupancy(profile: &LaunchProfile, target: &Target) -> Occupancy {
    let warps = profile.threads.div_ceil(32).max(1);
    // Registers are given to a warp in units of 256, that is 8 a thread.
    let registers_of_warp = profile.registers.max(16).next_multiple_of(8) * 32;
    let by_registers = (target.registers / registers_of_warp) / warps;
    // The driver keeps 1 KiB of shared memory in each block for itself.
    let by_shared = target.shared_bytes / (profile.shared_bytes + 1024);
    let limits = [
        (target.threads / (warps * 32), "threads"),
        (target.blocks, "blocks"),
        (by_registers, "registers"),
        (by_shared, "shared memory"),
    ];
    let (blocks, limit) =
        limits.into_iter().min_by_key(|(blocks, _)| *blocks).expect("the list is not empty");
    Occupancy { blocks, limit }
}

/// A modelled time and what it is made of, in seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// The whole.
    pub seconds: f64,
    /// If only memory bandwidth counted.
    pub bandwidth: f64,
    /// If only L2 bandwidth counted.
    pub l2: f64,
    /// If only the pipes and schedulers of the multiprocessors counted.
    pub issue: f64,
    /// If only waiting for memory, barriers and shuffles counted.
    pub latency: f64,
    /// What does not depend on the kernel.
    pub overhead: f64,
    /// Blocks of a multiprocessor at once.
    pub occupancy: u32,
}

/// Cycles of a multiprocessor that each pipe needs for the whole launch, with its name: results a clock and multiprocessor
/// of compute capability 9.0 and 10.0, in warps.
pub(super) fn pipes(profile: &LaunchProfile) -> [(&'static str, f64); 9] {
    let pipe = |classes: &[Class], per_clock: f64| {
        classes.iter().map(|&class| profile.instructions_of(class)).sum::<f64>() / per_clock
    };
    [
        // Four schedulers; about four fifths of their slots are used by well-behaved code.
        ("issue", profile.instructions.iter().sum::<f64>() / (4.0 * 0.8)),
        ("integer", pipe(&[Class::Integer], 2.0)),
        ("f32", pipe(&[Class::F32], 4.0)),
        ("f64", pipe(&[Class::F64], 2.0)),
        ("half", pipe(&[Class::Half], 4.0)),
        ("special functions", pipe(&[Class::Special], 0.5)),
        ("conversions", pipe(&[Class::Conversion], 2.0)),
        (
            "loads, stores and shuffles",
            pipe(&[Class::GlobalLoad, Class::GlobalStore, Class::Local, Class::Atomic, Class::Async], 1.0)
                + pipe(&[Class::Shuffle], 1.0)
                + profile.shared_passes,
        ),
        // L1 hands out 128 bytes a clock.
        ("l1", (profile.load_bytes + profile.store_bytes) / 128.0),
    ]
}

/// Estimates one launch; `None` when a block does not fit a multiprocessor.
///
/// `compulsory` is the number of bytes that must move between memory and the chip: each input once, each output once.
/// What is touched beyond that is served by L2 as long as it fits there.
pub fn estimate_launch(profile: &LaunchProfile, compulsory: f64, target: &Target) -> Option<Estimate> {
    let occupancy = occupancy(profile, target);
    if occupancy.blocks == 0 || profile.blocks == 0 {
        return None;
    }
    let multiprocessors = f64::from(target.multiprocessors);
    let blocks = profile.blocks as f64;
    let resident = f64::from(occupancy.blocks) * multiprocessors;

    // What a block touches again comes from L1 or L2 as long as what the resident blocks touch fits there, else from memory.
    // Half of L2 is what one side of it can hold without help. What blocks have in common is read from memory once.
    let touched = profile.load_bytes + profile.store_bytes;
    let distinct = profile.block_bytes.clamp(compulsory.min(touched), touched);
    let again = touched - distinct;
    let at_work = resident.min(blocks);
    let of_block = distinct / blocks;
    let working_set = (of_block - profile.common_bytes).max(0.0) * at_work + profile.common_bytes;
    let kept = (target.l2_bytes as f64 / 2.0 / working_set.max(1.0)).min(1.0);
    let bandwidth = (compulsory + (again + profile.spill_bytes) * (1.0 - kept)) / target.memory_bandwidth;
    let blocks_here = f64::from(occupancy.blocks).min(blocks / multiprocessors).max(1.0);
    let l1 = (f64::from(target.l1_bytes) - blocks_here * f64::from(profile.shared_bytes)).max(0.0);
    // What blocks have in common is still in L1 from the block before, if it fits; the rest of L1 is for what they read again.
    let common = profile.common_bytes.clamp(0.0, of_block);
    let common_kept = (l1 / common.max(1.0)).min(1.0);
    let kept_near = ((l1 - common) / ((of_block - common) * blocks_here).max(1.0)).clamp(0.0, 1.0);
    let through = (distinct - common * blocks * common_kept).max(compulsory);
    let l2 = (through + again * (1.0 - kept_near) + profile.spill_bytes / 2.0) / target.l2_bandwidth;

    let cycles = pipes(profile).into_iter().map(|(_, cycles)| cycles).fold(0.0, f64::max);
    // Blocks are whole: the multiprocessor with the most of them decides.
    let share = (blocks / multiprocessors).ceil() * multiprocessors / blocks;
    // With many blocks the early ones make room for the rest, and nobody waits for the last wave.
    let imbalance = 1.0 + (share - 1.0).min(1.0 / (blocks / resident).max(1.0)).max(0.0);
    let issue =
        cycles / multiprocessors / target.clock * if blocks < multiprocessors { share } else { imbalance };

    // Little's law with blocks for customers: so many at once, each for so long.
    let warps = f64::from(profile.threads.div_ceil(32).max(1)) * blocks;
    let instructions_of_warp = profile.instructions.iter().sum::<f64>() / warps;
    let seconds = |clocks: f64| clocks / target.clock;
    let threads_at_barrier = f64::from(profile.threads.div_ceil(32));
    let barriers = profile.barriers / blocks;
    // Constants of this sum were fitted to times of an H200, see `benches/results/model-h200`.
    let block_latency = seconds(1000.0)
        + profile.round_trips * target.memory_latency
        // A warp issues an instruction every few clocks even when it is alone.
        + seconds(3.0 * instructions_of_warp)
        + seconds(25.0 * profile.instructions_of(Class::Shuffle) / warps)
        + seconds(25.0 * profile.instructions_of(Class::SharedLoad) / warps)
        // Warps come one after the other, and the last one is waited for.
        + seconds((60.0 + 20.0 * threads_at_barrier) * barriers)
        + if profile.cluster > 1 { seconds(2000.0 + 1200.0 * barriers) } else { 0.0 };
    let latency = (blocks / resident).max(1.0) * block_latency;

    // The largest rules, and the next ones still show: a norm of fourth powers; of eighth powers where so much goes on side
    // by side that one resource is busy while another is waited for. In square roots, which every platform rounds alike.
    let terms = [bandwidth, l2, issue, latency];
    let independent = blocks_here * if profile.barriers > 0.0 { 1.0 } else { threads_at_barrier };
    let fourth = |term: f64| (term * term) * (term * term);
    let eighth = |term: f64| fourth(term) * fourth(term);
    let norm = if independent > 32.0 {
        terms.into_iter().map(eighth).sum::<f64>().sqrt().sqrt().sqrt()
    } else {
        terms.into_iter().map(fourth).sum::<f64>().sqrt().sqrt()
    };
    let seconds = norm + target.launch_overhead;
    Some(Estimate {
        seconds,
        bandwidth,
        l2,
        issue,
        latency,
        overhead: target.launch_overhead,
        occupancy: occupancy.blocks,
    })
}

/// Estimates launches that run one after the other; `None` when one of them cannot run.
///
/// The compulsory bytes are moved by all of them together; each is charged with its share of what is touched.
pub fn estimate_variant(launches: &[LaunchProfile], compulsory: f64, target: &Target) -> Option<Estimate> {
    let touched = |profile: &LaunchProfile| profile.load_bytes + profile.store_bytes;
    let all: f64 = launches.iter().map(touched).sum();
    let mut whole: Option<Estimate> = None;
    for profile in launches {
        let share =
            if launches.len() == 1 { compulsory } else { compulsory * touched(profile) / all.max(1.0) };
        let part = estimate_launch(profile, share, target)?;
        whole = Some(match whole {
            None => part,
            Some(sum) => Estimate {
                seconds: sum.seconds + part.seconds,
                bandwidth: sum.bandwidth + part.bandwidth,
                l2: sum.l2 + part.l2,
                issue: sum.issue + part.issue,
                latency: sum.latency + part.latency,
                overhead: sum.overhead + part.overhead,
                occupancy: sum.occupancy.min(part.occupancy),
            },
        });
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A copy of `bytes` read and `bytes` written, 16 bytes an access, 256 threads a block, one access a thread.
    fn copy(bytes: f64, access: f64) -> LaunchProfile {
        let accesses = bytes / access / 32.0;
        let mut profile = LaunchProfile {
            blocks: (accesses / 8.0) as u64,
            threads: 256,
            cluster: 1,
            registers: 24,
            load_bytes: bytes,
            store_bytes: bytes,
            block_bytes: 2.0 * bytes,
            round_trips: 1.0,
            ..LaunchProfile::default()
        };
        profile.instructions[Class::GlobalLoad as usize] = accesses;
        profile.instructions[Class::GlobalStore as usize] = accesses;
        profile.instructions[Class::Integer as usize] = accesses * 8.0;
        profile
    }

    fn seconds(profile: &LaunchProfile, compulsory: f64) -> f64 {
        estimate_launch(profile, compulsory, &Target::H200).expect("it fits").seconds
    }

    #[test]
    fn a_plain_copy_comes_near_what_was_measured_on_an_h200() {
        // M=32768, bf16: milliseconds of the best plain copy.
        for (n, measured) in [(256.0, 0.00973), (1024.0, 0.03341), (4096.0, 0.12723), (32768.0, 0.99838)] {
            let bytes = 32768.0 * n * 2.0;
            let modelled = seconds(&copy(bytes, 16.0), 2.0 * bytes) * 1e3;
            assert!((modelled / measured - 1.0).abs() < 0.15, "n={n}: {modelled} ms for {measured} ms");
        }
    }

    #[test]
    fn fewer_sectors_are_faster() {
        let bytes = 64e6;
        let twice = LaunchProfile { load_bytes: 2.0 * bytes, block_bytes: 3.0 * bytes, ..copy(bytes, 16.0) };
        assert!(seconds(&copy(bytes, 16.0), 2.0 * bytes) < seconds(&twice, 2.0 * bytes));
    }

    #[test]
    fn wide_accesses_beat_narrow_ones() {
        let bytes = 64e6;
        let order: Vec<f64> =
            [16.0, 8.0, 4.0, 2.0].map(|access| seconds(&copy(bytes, access), 2.0 * bytes)).into();
        assert!(order.windows(2).all(|pair| pair[0] <= pair[1]), "{order:?}");
        assert!(order[3] > 1.5 * order[0], "{order:?}");
    }

    #[test]
    fn too_little_parallelism_is_slower() {
        let bytes = 64e6;
        let plain = copy(bytes, 16.0);
        let few = LaunchProfile { blocks: 32, round_trips: plain.blocks as f64 / 32.0, ..plain.clone() };
        assert!(seconds(&few, 2.0 * bytes) > 4.0 * seconds(&plain, 2.0 * bytes));
    }

    #[test]
    fn registers_shared_memory_and_threads_limit_occupancy() {
        let base = copy(64e6, 16.0);
        let of = |profile: LaunchProfile| occupancy(&profile, &Target::H200);
        assert_eq!(of(base.clone()), Occupancy { blocks: 8, limit: "threads" });
        assert_eq!(
            of(LaunchProfile { registers: 255, ..base.clone() }),
            Occupancy { blocks: 1, limit: "registers" }
        );
        assert_eq!(
            of(LaunchProfile { shared_bytes: 100 << 10, ..base.clone() }),
            Occupancy { blocks: 2, limit: "shared memory" }
        );
        assert_eq!(
            of(LaunchProfile { threads: 32, ..base.clone() }),
            Occupancy { blocks: 32, limit: "blocks" }
        );
        let hopeless = LaunchProfile { threads: 1024, registers: 255, ..base };
        assert!(estimate_launch(&hopeless, 1.0, &Target::H200).is_none());
    }

    #[test]
    fn barriers_conflicts_and_spills_cost_something() {
        let bytes = 8e6;
        let base = copy(bytes, 16.0);
        let plain = seconds(&base, 2.0 * bytes);
        let blocks = base.blocks as f64;
        let barriers = LaunchProfile { barriers: blocks * 64.0, ..base.clone() };
        let conflicts = LaunchProfile { shared_passes: blocks * 8.0 * 32.0 * 16.0, ..base.clone() };
        let spills = LaunchProfile { spill_bytes: bytes * 8.0, ..base };
        assert!(plain < seconds(&barriers, 2.0 * bytes));
        assert!(plain < seconds(&conflicts, 2.0 * bytes));
        assert!(plain < seconds(&spills, 2.0 * bytes));
    }

    #[test]
    fn two_launches_cost_two_overheads() {
        let bytes = 1e6;
        let one = estimate_variant(&[copy(bytes, 16.0)], 2.0 * bytes, &Target::H200).expect("it fits");
        let half = copy(bytes / 2.0, 16.0);
        let two = estimate_variant(&[half.clone(), half], 2.0 * bytes, &Target::H200).expect("it fits");
        assert!(two.seconds > one.seconds);
        assert!(estimate_variant(&[], 1.0, &Target::H200).is_none());
    }
}
