//! Figures of GPUs.

use factory_spec::Arch;

/// What a GPU gives, as far as the model looks at it. Rates are a second, for the whole device unless it says otherwise.
///
/// Sources: NVIDIA's H100, H200 and B200 data sheets and the CUDA C++ Programming Guide's tables of compute capabilities
/// 9.0 and 10.0 (limits of a multiprocessor, results a clock). The bandwidth is what plain copies reach, not the data
/// sheet's: 4.3 TB/s of 4.8 on an H200, and the same share of the others' figures. Clock, latency and overhead are those of
/// an H200 under kernels of a few microseconds to a millisecond (`benches/results/model-h200`); a B200 was not measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Name for people.
    pub name: &'static str,
    /// Multiprocessors.
    pub multiprocessors: u32,
    /// Clock in Hz.
    pub clock: f64,
    /// Bytes a second that a copy reaches, read and written together.
    pub memory_bandwidth: f64,
    /// Seconds from a load to its value when memory is busy.
    pub memory_latency: f64,
    /// Bytes a second out of L2.
    pub l2_bandwidth: f64,
    /// Bytes of L2.
    pub l2_bytes: u64,
    /// 32-bit registers of a multiprocessor.
    pub registers: u32,
    /// Bytes of L1 and shared memory of a multiprocessor together.
    pub l1_bytes: u32,
    /// Bytes of shared memory of a multiprocessor that blocks can have.
    pub shared_bytes: u32,
    /// Bytes of shared memory that one block can ask for.
    pub shared_bytes_of_block: u32,
    /// Threads of a multiprocessor.
    pub threads: u32,
    /// Blocks of a multiprocessor.
    pub blocks: u32,
    /// Dense operations a second of the tensor cores, by `TensorType`; 0 for types that they do not have.
    pub tensor: [f64; 7],
    /// Seconds from one launch to the next that do not depend on the kernel: launch, first load, drain.
    pub launch_overhead: f64,
}

impl Target {
    /// H100 SXM, 80 GB.
    pub const H100: Target = Target {
        name: "NVIDIA H100",
        multiprocessors: 132,
        clock: 1.98e9,
        memory_bandwidth: 3.0e12,
        memory_latency: 450e-9,
        l2_bandwidth: 7.0e12,
        l2_bytes: 50 << 20,
        registers: 65_536,
        l1_bytes: 256 << 10,
        shared_bytes: 228 << 10,
        shared_bytes_of_block: 227 << 10,
        threads: 2048,
        blocks: 32,
        tensor: [989.4e12, 494.7e12, 66.9e12, 1978.9e12, 1978.9e12, 0.0, 0.0],
        launch_overhead: 1.3e-6,
    };

    /// H200 SXM, 141 GB.
    pub const H200: Target =
        Target { name: "NVIDIA H200", memory_bandwidth: 4.3e12, l2_bytes: 60 << 20, ..Target::H100 };

    /// B200, 180 GB.
    pub const B200: Target = Target {
        name: "NVIDIA B200",
        multiprocessors: 148,
        clock: 1.85e9,
        memory_bandwidth: 7.1e12,
        memory_latency: 500e-9,
        l2_bandwidth: 11.0e12,
        l2_bytes: 126 << 20,
        tensor: [2250e12, 1125e12, 37e12, 4500e12, 4500e12, 4500e12, 0.0],
        ..Target::H100
    };

    /// All of them.
    pub const ALL: [&'static Target; 3] = [&Target::H100, &Target::H200, &Target::B200];

    /// The GPU that PTX for `arch` is most likely to run on.
    pub fn of(arch: Arch) -> &'static Target {
        match arch.compute_capability() {
            (9, _) => &Target::H200,
            _ => &Target::B200,
        }
    }
}
