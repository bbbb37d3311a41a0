//! What can go wrong, and what to do about it.

use std::fmt;

/// The result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a device, a tensor or a launch was refused.
///
/// Launch errors carry the kernel's name and, where one argument is at fault, that argument's name as the spec has it.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tensor has another number of dimensions than the spec gives its argument.
    #[error("`{kernel}`: argument `{argument}` has {got} dimensions, the spec says {expected}: [{names}]")]
    Rank {
        /// The kernel.
        kernel: &'static str,
        /// The argument.
        argument: String,
        /// Dimensions in the spec.
        expected: usize,
        /// Dimensions of the tensor.
        got: usize,
        /// The names of the spec's dimensions.
        names: String,
    },
    /// A dimension disagrees with the spec or with another argument.
    #[error(
        "`{kernel}`: argument `{argument}`: dimension {dimension} (`{size}`) is {got}, expected {expected} ({because})"
    )]
    Shape {
        /// The kernel.
        kernel: &'static str,
        /// The argument.
        argument: String,
        /// Which dimension, counted from 0.
        dimension: usize,
        /// The size's name in the spec.
        size: String,
        /// What it should be.
        expected: u64,
        /// What the tensor has.
        got: u64,
        /// Where the expectation comes from.
        because: String,
    },
    /// A tensor is not contiguous.
    #[error(
        "`{kernel}`: argument `{argument}` has strides {got:?} (in elements), but the kernel was verified for contiguous row-major tensors, \
         here {expected:?}\n\nhint: copy it into a contiguous tensor first"
    )]
    Stride {
        /// The kernel.
        kernel: &'static str,
        /// The argument.
        argument: String,
        /// Contiguous strides of that shape, in elements.
        expected: Vec<usize>,
        /// The strides of the tensor, in elements.
        got: Vec<usize>,
    },
    /// A tensor's rows are not contiguous, or do not lie as far apart as they should.
    #[error(
        "`{kernel}`: argument `{argument}` has strides {got:?} (in elements), but the kernel was verified for contiguous rows that all lie \
         `{size}` elements apart{}\n\nhint: take columns of a contiguous tensor, or copy it into one",
        .expected.map_or_else(String::new, |expected| format!(", here {expected} as another argument has it"))
    )]
    RowStride {
        /// The kernel.
        kernel: &'static str,
        /// The argument.
        argument: String,
        /// The size that is the stride.
        size: String,
        /// The strides of the tensor, in elements.
        got: Vec<usize>,
        /// What the stride must be since another argument has it; none: rows that lie as these do have no stride.
        expected: Option<u64>,
    },
    /// A tensor starts at an address that the chosen variant was not verified for.
    #[error(
        "`{kernel}`: argument `{argument}` starts at {address:#x}, which is not a multiple of {required} bytes\n\n\
         hint: views must start at a multiple of {required} bytes of their allocation"
    )]
    Alignment {
        /// The kernel.
        kernel: &'static str,
        /// The argument.
        argument: String,
        /// The address (on the machine: the offset into the tensor).
        address: u64,
        /// The alignment that the plan asks for, in bytes.
        required: u32,
    },
    /// A tensor lives elsewhere than where the kernel is launched.
    #[error("`{kernel}`: argument `{argument}` is on {got}, but the launch is on {expected}")]
    DeviceMismatch {
        /// The kernel.
        kernel: &'static str,
        /// The argument; `stream` for the stream.
        argument: String,
        /// Where the launch is.
        expected: String,
        /// Where the argument is.
        got: String,
    },
    /// An output shares memory with another argument.
    #[error(
        "`{kernel}`: arguments `{first}` and `{second}` overlap in memory, and the kernel writes at least one of them"
    )]
    Alias {
        /// The kernel.
        kernel: &'static str,
        /// One argument.
        first: String,
        /// The other.
        second: String,
    },
    /// A tensor with elements has no memory.
    #[error("`{kernel}`: argument `{argument}` is a null pointer")]
    Null {
        /// The kernel.
        kernel: &'static str,
        /// The argument.
        argument: String,
    },
    /// The number of arguments is not the spec's.
    #[error("`{kernel}` takes {expected} arguments, {got} were given")]
    ArgumentCount {
        /// The kernel.
        kernel: &'static str,
        /// Arguments in the spec.
        expected: usize,
        /// Arguments given.
        got: usize,
    },
    /// An argument is of another kind or type than the spec says.
    #[error("`{kernel}`: argument `{argument}` is {got}, the spec says {expected}")]
    ArgumentType {
        /// The kernel.
        kernel: &'static str,
        /// The argument.
        argument: String,
        /// What the spec says, such as `a writable tensor of bf16`.
        expected: String,
        /// What was given.
        got: String,
    },
    /// The sizes lie outside of what the kernel was verified for.
    #[error(
        "`{kernel}`: {source}; the kernel was not verified for these sizes\n\nhint: widen the spec's `[sizes]` and search again"
    )]
    Domain {
        /// The kernel.
        kernel: &'static str,
        /// The rule that does not hold.
        #[source]
        source: factory_spec::DomainError,
    },
    /// No variant of the plan serves these sizes.
    #[error(
        "`{kernel}`: no variant for `{target}` serves the sizes {sizes}\n\nhint: the plan was sealed for other sizes; run the search again with these in `[better] over`"
    )]
    NoVariant {
        /// The kernel.
        kernel: &'static str,
        /// The target.
        target: String,
        /// The sizes, as `m = 3, n = 8`.
        sizes: String,
    },
    /// No PTX in the kernel runs on this device.
    #[error(
        "`{kernel}` has PTX for {available}, none of which runs on {device} (compute capability {major}.{minor})\n\nhint: add the device's architecture to the spec's `[targets]`"
    )]
    NoTarget {
        /// The kernel.
        kernel: &'static str,
        /// The device.
        device: String,
        /// Its compute capability, major.
        major: u32,
        /// Its compute capability, minor.
        minor: u32,
        /// The targets there are.
        available: String,
    },
    /// The plan asks for a launch that the hardware cannot do.
    #[error("`{kernel}`: entry `{entry}`: {what}")]
    LaunchLimit {
        /// The kernel.
        kernel: &'static str,
        /// The PTX entry.
        entry: String,
        /// Which limit.
        what: String,
    },
    /// An expression of the plan cannot be evaluated for these sizes.
    #[error("`{kernel}`: {what}: {source}")]
    Expression {
        /// The kernel.
        kernel: &'static str,
        /// Which expression.
        what: String,
        /// Why.
        #[source]
        source: factory_spec::EvalError,
    },
    /// The driver's library is not on this machine.
    #[error(
        "the NVIDIA driver was not found (tried {tried})\n\nhint: install the NVIDIA driver, or use `Device::machine()` \
         (or `KERNEL_FACTORY_DEVICE=machine`), which needs no GPU"
    )]
    DriverMissing {
        /// The names that were tried.
        tried: String,
    },
    /// The driver is too old for what is asked of it.
    #[error(
        "the NVIDIA driver supports CUDA {found}, but {why} needs {needed} or newer\n\nhint: update the NVIDIA driver"
    )]
    DriverTooOld {
        /// The CUDA version of the driver.
        found: CudaVersion,
        /// The CUDA version needed.
        needed: CudaVersion,
        /// What needs it.
        why: String,
    },
    /// The driver is there, but no such GPU.
    #[error(
        "GPU {ordinal} was asked for, but the driver sees {count}\n\nhint: see `nvidia-smi -L` and `CUDA_VISIBLE_DEVICES`"
    )]
    NoGpu {
        /// The ordinal that was asked for.
        ordinal: usize,
        /// How many GPUs there are.
        count: usize,
    },
    /// The device has not enough free memory.
    #[error("out of memory on {device}: {bytes} bytes were asked for{free}")]
    OutOfMemory {
        /// The device.
        device: String,
        /// Bytes asked for.
        bytes: u64,
        /// What is free, as `, … are free`, or nothing.
        free: String,
    },
    /// The driver refused a call.
    #[error("{call} failed: {name} ({code}){context}")]
    Cuda {
        /// The driver function.
        call: &'static str,
        /// The driver's code.
        code: u32,
        /// The code's name.
        name: String,
        /// For what, as ` for …`, or nothing.
        context: String,
    },
    /// The driver could not compile the PTX.
    #[error("`{kernel}`: the driver rejected `{file}`: {name} ({code})\n{log}")]
    Jit {
        /// The kernel.
        kernel: &'static str,
        /// The PTX file.
        file: String,
        /// The driver's code.
        code: u32,
        /// The code's name.
        name: String,
        /// The driver's log.
        log: String,
    },
    /// A kernel did something forbidden on the PTX machine.
    #[cfg(feature = "machine")]
    #[error("`{kernel}` faulted on the PTX machine: {fault}")]
    MachineFault {
        /// The kernel.
        kernel: &'static str,
        /// What, where and by which thread.
        fault: Box<factory_ptx::machine::Fault>,
    },
    /// The PTX machine cannot run the kernel.
    #[error("`{kernel}` cannot run on the PTX machine: {why}")]
    MachineUnsupported {
        /// The kernel.
        kernel: &'static str,
        /// Which form, at which line.
        why: String,
    },
    /// There is no verified kernel behind this function.
    #[error("`{kernel}` was not built: {reason}")]
    Missing {
        /// The kernel.
        kernel: &'static str,
        /// Why, and what to do.
        reason: String,
    },
    /// A file of the kernel is not the one that its certificate names.
    #[error(
        "`{kernel}`: `{file}` does not have the digest that the certificate names\n\nhint: it was changed after it was sealed; search again or restore the sealed folder"
    )]
    Tampered {
        /// The kernel.
        kernel: &'static str,
        /// The file.
        file: String,
    },
    /// The generated data of a kernel cannot be used.
    #[error(
        "`{kernel}`: {what}\n\nhint: the crate was built by another version of the factory; rebuild it with one version of `factory-build` and `factory-runtime`"
    )]
    BadKernel {
        /// The kernel.
        kernel: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// A shape and a slice disagree, or a view does not lie within its tensor.
    #[error("{what}")]
    Extent {
        /// What disagrees.
        what: String,
    },
    /// An operation needs memory of another kind of device.
    #[error("{operation} needs {needed}, but this is {got}")]
    WrongPlace {
        /// What was called.
        operation: &'static str,
        /// What it needs.
        needed: &'static str,
        /// What there is.
        got: String,
    },
    /// `KERNEL_FACTORY_DEVICE` or `KERNEL_FACTORY_MACHINE_CHECKS` holds something else than it may.
    #[error("`{variable}` is `{value}`, it may be {allowed}")]
    Variable {
        /// The variable.
        variable: &'static str,
        /// Its value.
        value: String,
        /// What it may hold.
        allowed: &'static str,
    },
}

impl Error {
    /// Whether there is no usable GPU here at all: no driver, too old a driver, or no device.
    ///
    /// [`Device::best`](crate::Device::best) goes on to the PTX machine then, where there is one (feature `machine`).
    pub fn is_no_gpu(&self) -> bool {
        matches!(self, Error::DriverMissing { .. } | Error::DriverTooOld { .. } | Error::NoGpu { .. })
    }
}

/// A CUDA version, as the driver counts them: 12.4 is 12040.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CudaVersion(pub u32);

impl fmt::Display for CudaVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("of an unknown version"),
            version => write!(f, "{}.{}", version / 1000, version % 1000 / 10),
        }
    }
}
