//! A kernel that is ready on a device, and its launch.

use std::ffi::c_void;
use std::sync::Arc;

use cudarc::driver::{DevicePtr, DevicePtrMut, DeviceSlice, SyncOnDrop};
use factory_spec::{Interface, Plan, Role, TargetPlan};

use crate::argument::Value;
use crate::compiled::{Base, Contract, MAX_ARGS, MAX_PARAMS, MAX_SIZES, Target};
use crate::device::CudaDevice;
use crate::driver::{EncodedMap, cuda_error};
use crate::emulated::Emulated;
use crate::module::Module;
use crate::resolved::{Given, Resolved, ResolvedCache, ResolvedParam, UNSET, resolve};
use crate::view::{MutPlace, RefPlace};
use crate::{ArgValue, Device, Error, KernelSource, Result, Stream};

/// A kernel that is ready to be launched on one device. Cheap to clone.
#[derive(Clone)]
pub struct Prepared {
    inner: Arc<Inner>,
}

struct Inner {
    source: &'static KernelSource,
    device: Device,
    contract: Contract,
    target: Target,
    /// The entries of the target; indices into it are what `module` goes by.
    entries: Vec<String>,
    code: Code,
    resolved: ResolvedCache,
}

enum Code {
    Cuda(Module),
    Machine(Emulated),
}

/// What is known of an argument's memory once the launch may use it.
#[derive(Clone, Copy, Default)]
struct Extent {
    address: u64,
    bytes: u64,
    /// What the alignment is judged by: on the machine, the offset into the tensor.
    aligned: u64,
    written: bool,
}

impl Prepared {
    /// Reads, verifies and loads; [`KernelSource::prepare`] keeps the outcome.
    pub(crate) fn new(source: &'static KernelSource, device: &Device) -> Result<Prepared> {
        let kernel = source.name;
        let bad = |what: String| Error::BadKernel { kernel, what };
        let interface = Interface::parse(source.spec)
            .map_err(|error| bad(format!("its interface cannot be read: {error}")))?;
        let plan =
            Plan::parse(source.plan).map_err(|error| bad(format!("its plan cannot be read: {error}")))?;
        let digests = source.digests()?;
        source.verify(&digests, factory_spec::generated::PLAN, source.plan)?;
        let contract = Contract::new(kernel, &interface)?;
        let load = |plan: &TargetPlan| {
            let target = Target::new(kernel, &contract, plan)?;
            let ptx = source.ptx.iter().find(|(file, _)| *file == target.ptx).map(|(_, text)| *text);
            let ptx = ptx.ok_or_else(|| bad(format!("`{}` is not there", target.ptx)))?;
            source.verify(&digests, &target.ptx, ptx)?;
            let entries: Vec<String> = target.entries().into_iter().map(str::to_owned).collect();
            let code = match device.as_cuda() {
                Some(cuda) => Code::Cuda(Module::load(kernel, cuda, &target.ptx, ptx, &entries)?),
                None => Code::Machine(Emulated::load(kernel, &target.ptx, ptx, &entries)?),
            };
            Ok((target, entries, code))
        };
        let available =
            || plan.targets.iter().map(|target| target.arch.name()).collect::<Vec<_>>().join(", ");
        let loaded = match device.compute_capability() {
            Some(capability) => load(plan.target_for(capability).ok_or_else(|| Error::NoTarget {
                kernel,
                device: device.description(),
                major: capability.0,
                minor: capability.1,
                available: available(),
            })?)?,
            // The machine takes the first target of which it runs everything: the oldest needs the least of it.
            None => {
                let mut outcome = Err(bad("its plan has no target".to_owned()));
                for target in &plan.targets {
                    outcome = load(target);
                    if !matches!(outcome, Err(Error::MachineUnsupported { .. })) {
                        break;
                    }
                }
                outcome?
            }
        };
        let (target, entries, code) = loaded;
        let inner = Inner {
            source,
            device: device.clone(),
            contract,
            target,
            entries,
            code,
            resolved: ResolvedCache::new(),
        };
        Ok(Prepared { inner: Arc::new(inner) })
    }

    /// The device it is ready for.
    pub fn device(&self) -> &Device {
        &self.inner.device
    }

    /// What it was prepared from.
    pub fn source(&self) -> &'static KernelSource {
        self.inner.source
    }

    /// The architecture whose PTX was taken: `sm_90`, …
    pub fn target(&self) -> &'static str {
        self.inner.target.arch.name()
    }

    /// The name of the variant that serves arguments of these shapes.
    ///
    /// # Errors
    ///
    /// As [`Prepared::launch`], where it is the shapes that are at fault.
    pub fn variant(&self, args: &[ArgValue<'_>]) -> Result<&str> {
        let inner = &*self.inner;
        let mut given = inner.given(args)?;
        let domain = |source| Error::Domain { kernel: inner.source.name, source };
        inner.contract.domain.complete(&mut given.values[..given.count]).map_err(domain)?;
        let serves = |variant: &&crate::compiled::Variant| {
            variant.when.eval(given.as_slice()).is_ok_and(|holds| holds != 0)
        };
        let variant = inner.target.variants.iter().find(serves);
        variant.map(|variant| variant.name.as_str()).ok_or_else(|| Error::NoVariant {
            kernel: inner.source.name,
            target: inner.target.arch.to_string(),
            sizes: format!("{:?}", given.as_slice()),
        })
    }

    /// Works out what a launch with these arguments comes down to, without launching: what a launch costs on the host
    /// besides the driver's own work.
    ///
    /// # Errors
    ///
    /// As [`Prepared::launch`], but for those that concern addresses.
    pub fn resolve(&self, args: &[ArgValue<'_>]) -> Result<()> {
        let inner = &*self.inner;
        let given = inner.given(args)?;
        inner.find(&given).map(|_| ())
    }

    /// The driver's handle of an entry, to compare this launch with a bare one. `None` on the machine, or without such an
    /// entry.
    pub fn cuda_function(&self, entry: &str) -> Option<*mut c_void> {
        let index = self.inner.entries.iter().position(|known| known == entry)?;
        match &self.inner.code {
            Code::Cuda(module) => Some(module.function(index)),
            Code::Machine(_) => None,
        }
    }

    /// Checks the arguments and queues the kernel on `stream`. On the machine it has run when this returns.
    ///
    /// # Errors
    ///
    /// See [`Error`]: every way in which the arguments are not what the kernel was verified for; on the machine also
    /// [`Error::MachineFault`]. A fault on a GPU shows at the stream's next synchronisation.
    pub fn launch(&self, stream: &Stream, args: &mut [ArgValue<'_>]) -> Result<()> {
        let inner = &*self.inner;
        if *stream.device() != inner.device {
            return Err(inner.mismatch("stream", &inner.device, stream.device().description()));
        }
        let given = inner.given(args)?;
        inner.check_strides(args)?;
        inner.check_places(args)?;
        let resolved = inner.find(&given)?;
        if resolved.empty {
            return Ok(());
        }
        match (&inner.code, inner.device.as_cuda(), stream.cuda_stream()) {
            (Code::Cuda(module), Some(cuda), Some(cuda_stream)) => {
                inner.launch_cuda(module, cuda, stream, cuda_stream, &resolved, args)
            }
            (Code::Machine(machine), None, _) => {
                inner.check_memory(resolved.alignment, &host_extents(args)[..args.len()])?;
                let options = inner.device.machine_options().copied().unwrap_or_default();
                machine.run(inner.source.name, &inner.contract, &resolved, &options, args)
            }
            _ => Err(inner.mismatch("stream", &inner.device, stream.device().description())),
        }
    }
}

impl Inner {
    fn kernel(&self) -> &'static str {
        self.source.name
    }

    #[cold]
    fn mismatch(&self, argument: &str, expected: &Device, got: String) -> Error {
        Error::DeviceMismatch {
            kernel: self.kernel(),
            argument: argument.to_owned(),
            expected: expected.description(),
            got,
        }
    }

    /// The sizes that the shapes give, after checking kinds, types and that the shapes agree with each other.
    #[inline]
    fn given(&self, args: &[ArgValue<'_>]) -> Result<Given> {
        if args.len() != self.contract.args.len() {
            return Err(Error::ArgumentCount {
                kernel: self.kernel(),
                expected: self.contract.args.len(),
                got: args.len(),
            });
        }
        let mut values = [UNSET; MAX_SIZES];
        for (arg, value) in self.contract.args.iter().zip(args) {
            let value = &value.0;
            let fits = match value {
                Value::Scalar { .. } => arg.scalar,
                Value::Ref { .. } => !arg.scalar && arg.role == Role::In,
                Value::Mut { .. } => !arg.scalar,
            };
            if !fits || value.dtype() != arg.dtype {
                return Err(self.wrong_type(arg, value));
            }
            let Some(layout) = value.layout() else { continue };
            let extents = layout.shape.as_slice();
            if extents.len() != arg.dims.len() {
                return Err(self.wrong_rank(arg, extents.len()));
            }
            for (dimension, (&extent, &size)) in extents.iter().zip(&arg.dims).enumerate() {
                let extent = extent as i64;
                if values[size] == UNSET {
                    values[size] = extent;
                } else if values[size] != extent {
                    return Err(self.wrong_shape(args, arg, dimension, size, values[size], extent));
                }
            }
        }
        if self.contract.strided {
            self.row_strides(args, &mut values)?;
        }
        Ok(Given { values, count: self.contract.sizes.len() })
    }

    /// The sizes that rows lie apart, where arguments may have some. An argument without a second row goes with any.
    fn row_strides(&self, args: &[ArgValue<'_>], values: &mut [i64]) -> Result<()> {
        for (arg, value) in self.contract.args.iter().zip(args) {
            let (Some(size), Some(layout)) = (arg.stride, value.0.layout()) else { continue };
            let strides = layout.strides.unwrap_or_else(|| layout.shape.contiguous_strides());
            match layout.shape.row_stride(&strides) {
                Some(None) => {}
                Some(Some(stride)) if values[size] == UNSET => {
                    values[size] = i64::try_from(stride).unwrap_or(i64::MAX);
                }
                Some(Some(stride)) if i64::try_from(stride) == Ok(values[size]) => {}
                lie => {
                    let expected = lie.map(|_| values[size].unsigned_abs());
                    return Err(self.wrong_rows(arg, size, strides.as_slice(), expected));
                }
            }
        }
        for row in self.contract.args.iter().filter_map(crate::compiled::Arg::row) {
            if values[row.1] == UNSET
                && let Some(least) = self.contract.least_stride(row, values)
            {
                values[row.1] = least;
            }
        }
        Ok(())
    }

    #[inline]
    fn find(&self, given: &Given) -> Result<crate::resolved::Found<'_>> {
        self.resolved.find(given, || {
            let resolved = resolve(self.kernel(), &self.contract, &self.target, &self.entries, given)?;
            if let (Code::Cuda(module), Some(cuda)) = (&self.code, self.device.as_cuda()) {
                for launch in &resolved.launches {
                    module.allow(self.kernel(), cuda, &self.entries[launch.entry], launch)?;
                }
            }
            Ok(resolved)
        })
    }

    #[inline]
    fn check_strides(&self, args: &[ArgValue<'_>]) -> Result<()> {
        // Those of arguments with a row stride were looked at with the sizes.
        for (arg, value) in self.contract.args.iter().zip(args).filter(|(arg, _)| arg.stride.is_none()) {
            let Some(layout) = value.0.layout() else { continue };
            if let Some(strides) = layout.strides.filter(|strides| !layout.shape.is_contiguous(strides)) {
                return Err(Error::Stride {
                    kernel: self.kernel(),
                    argument: arg.name.clone(),
                    expected: layout.shape.contiguous_strides().as_slice().to_vec(),
                    got: strides.as_slice().to_vec(),
                });
            }
        }
        Ok(())
    }

    /// Every tensor must be where the launch is.
    #[inline]
    fn check_places(&self, args: &[ArgValue<'_>]) -> Result<()> {
        for (arg, value) in self.contract.args.iter().zip(args) {
            let context = match &value.0 {
                Value::Scalar { .. } => continue,
                Value::Ref { place: RefPlace::Cuda(view), .. } => Some(view.stream().context()),
                Value::Mut { place: MutPlace::Cuda(view), .. } => Some(view.stream().context()),
                Value::Ref { .. } | Value::Mut { .. } => None,
            };
            match context {
                Some(context) if self.device.is_context(context) => {}
                // Host memory is host memory, whatever the options of the machine that made the tensor.
                None if self.device.is_machine() => {}
                Some(context) => {
                    return Err(self.mismatch(
                        &arg.name,
                        &self.device,
                        format!("another context of GPU {}", context.ordinal()),
                    ));
                }
                None => {
                    return Err(self.mismatch(
                        &arg.name,
                        &self.device,
                        "the host (as tensors of the PTX machine are)".to_owned(),
                    ));
                }
            }
        }
        Ok(())
    }

    /// Null pointers, alignment and overlap.
    #[inline]
    fn check_memory(&self, alignment: u32, extents: &[Extent]) -> Result<()> {
        for (index, extent) in extents.iter().enumerate().filter(|(_, extent)| extent.bytes > 0) {
            if extent.address == 0 {
                return Err(Error::Null { kernel: self.kernel(), argument: self.name(index) });
            }
            if extent.aligned & u64::from(alignment - 1) != 0 {
                return Err(Error::Alignment {
                    kernel: self.kernel(),
                    argument: self.name(index),
                    address: extent.aligned,
                    required: alignment,
                });
            }
            if !extent.written {
                continue;
            }
            for (other, with) in
                extents.iter().enumerate().filter(|(other, with)| *other != index && with.bytes > 0)
            {
                if extent.address < with.address + with.bytes && with.address < extent.address + extent.bytes
                {
                    let (first, second) = (index.min(other), index.max(other));
                    return Err(Error::Alias {
                        kernel: self.kernel(),
                        first: self.name(first),
                        second: self.name(second),
                    });
                }
            }
        }
        Ok(())
    }

    fn name(&self, index: usize) -> String {
        self.contract.args[index].name.clone()
    }

    #[inline]
    fn launch_cuda(
        &self,
        module: &Module,
        cuda: &CudaDevice,
        stream: &Stream,
        cuda_stream: &Arc<cudarc::driver::CudaStream>,
        resolved: &Resolved,
        args: &mut [ArgValue<'_>],
    ) -> Result<()> {
        cuda.context.bind_to_thread().map_err(|error| cuda_error("cuCtxSetCurrent", error))?;
        let count = args.len();
        let mut extents = [Extent::default(); MAX_ARGS];
        let mut bits = [0u64; MAX_ARGS];
        // cudarc makes the stream wait for earlier work on each slice, and notes ours when these are dropped: after the
        // launch. With one stream there is nothing to wait for and nothing is noted.
        let mut guards = [const { None::<SyncOnDrop<'_>> }; MAX_ARGS];
        for (index, value) in args.iter_mut().enumerate() {
            let (address, bytes, guard, written) = match &mut value.0 {
                Value::Scalar { bits: value, .. } => {
                    bits[index] = *value;
                    continue;
                }
                Value::Ref { place: RefPlace::Cuda(view), .. } => {
                    let bytes = view.len();
                    let (address, guard) = view.device_ptr(cuda_stream);
                    (address, bytes, guard, false)
                }
                Value::Mut { place: MutPlace::Cuda(view), .. } => {
                    let bytes = view.len();
                    let (address, guard) = view.device_ptr_mut(cuda_stream);
                    (address, bytes, guard, true)
                }
                // `check_places` has refused it.
                Value::Ref { .. } | Value::Mut { .. } => continue,
            };
            bits[index] = address;
            extents[index] = Extent { address, bytes: bytes as u64, aligned: address, written };
            guards[index] = Some(guard);
        }
        self.check_memory(resolved.alignment, &extents[..count])?;

        let mut scratch = (resolved.scratch_bytes > 0).then(|| stream.scratch());
        let scratch_base = match &mut scratch {
            Some(scratch) => scratch.reserve(
                cuda_stream,
                &self.device,
                usize::try_from(resolved.scratch_bytes).unwrap_or(usize::MAX),
            )?,
            None => 0,
        };
        for &index in &resolved.zeroed {
            let (offset, bytes) = resolved.scratch[index];
            let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
            // SAFETY: the context is current, and the scratch memory of the stream has these bytes.
            let code = unsafe {
                (cuda.driver.memset_async)(scratch_base + offset, 0, bytes, cuda_stream.cu_stream().cast())
            };
            cuda.driver.check(
                "cuMemsetD8Async",
                code,
                &format!(" for the scratch memory of `{}`", self.kernel()),
            )?;
        }
        for launch in &resolved.launches {
            let address = |base: Base| match base {
                Base::Arg(arg) => bits[arg],
                Base::Scratch(index) => scratch_base + resolved.scratch[index].0,
            };
            let mut maps: Vec<EncodedMap> = Vec::new();
            for map in &launch.maps {
                let context = || format!(" for `{}` (entry `{}`)", self.kernel(), self.entries[launch.entry]);
                maps.push(cuda.driver.tensor_map(&map.shape, address(map.base), &context)?);
            }
            let mut values = [0u64; MAX_PARAMS];
            let mut pointers = [std::ptr::null_mut::<c_void>(); MAX_PARAMS];
            for ((param, value), pointer) in launch.params.iter().zip(&mut values).zip(&mut pointers) {
                *value = match *param {
                    ResolvedParam::Map(index) => {
                        // The driver reads the map and nothing else through this pointer.
                        *pointer = std::ptr::from_mut(&mut maps[index]).cast();
                        continue;
                    }
                    ResolvedParam::Pointer(arg) | ResolvedParam::Scalar(arg) => bits[arg],
                    ResolvedParam::Constant { bits, .. } => bits,
                    ResolvedParam::Scratch(index) => scratch_base + resolved.scratch[index].0,
                };
                // Narrower values are read from the low bytes: CUDA's hosts are little-endian.
                *pointer = std::ptr::from_mut(value).cast();
            }
            // SAFETY: the context is current and the stream is of it (`Prepared::launch` compared devices). The plan was
            // verified with this PTX, so its parameters are the entry's; each value is 8 bytes, as wide as any of them
            // but the tensor maps, which have their 128.
            // Tensors outlive the kernel: cudarc frees memory in stream order, after work that the guards note.
            let code =
                unsafe { module.launch(cuda, launch, cuda_stream.cu_stream().cast(), pointers.as_mut_ptr()) };
            if code != crate::driver::SUCCESS {
                return cuda.driver.check(
                    "cuLaunchKernel",
                    code,
                    &format!(" for `{}` (entry `{}`)", self.kernel(), self.entries[launch.entry]),
                );
            }
        }
        drop(guards);
        Ok(())
    }

    #[cold]
    fn wrong_type(&self, arg: &crate::compiled::Arg, value: &Value<'_>) -> Error {
        let expected = match (arg.scalar, arg.role) {
            (true, _) => format!("a scalar of {}", arg.dtype),
            (false, Role::In) => format!("a tensor of {}", arg.dtype),
            (false, _) => format!("a writable tensor of {}", arg.dtype),
        };
        Error::ArgumentType {
            kernel: self.kernel(),
            argument: arg.name.clone(),
            expected,
            got: value.describe(),
        }
    }

    #[cold]
    fn wrong_rows(
        &self,
        arg: &crate::compiled::Arg,
        size: usize,
        strides: &[usize],
        expected: Option<u64>,
    ) -> Error {
        Error::RowStride {
            kernel: self.kernel(),
            argument: arg.name.clone(),
            size: self.contract.sizes[size].clone(),
            got: strides.to_vec(),
            expected,
        }
    }

    #[cold]
    fn wrong_rank(&self, arg: &crate::compiled::Arg, got: usize) -> Error {
        let names: Vec<&str> = arg.dims.iter().map(|&size| self.contract.sizes[size].as_str()).collect();
        Error::Rank {
            kernel: self.kernel(),
            argument: arg.name.clone(),
            expected: arg.dims.len(),
            got,
            names: names.join(", "),
        }
    }

    #[cold]
    fn wrong_shape(
        &self,
        args: &[ArgValue<'_>],
        arg: &crate::compiled::Arg,
        dimension: usize,
        size: usize,
        expected: i64,
        got: i64,
    ) -> Error {
        // Whoever named the size first is what the others are held against.
        let first = self
            .contract
            .args
            .iter()
            .zip(args)
            .find(|(other, _)| other.dims.contains(&size))
            .map(|(other, _)| other.name.as_str());
        Error::Shape {
            kernel: self.kernel(),
            argument: arg.name.clone(),
            dimension,
            size: self.contract.sizes[size].clone(),
            expected: expected.unsigned_abs(),
            got: got.unsigned_abs(),
            because: match first {
                Some(first) if first != arg.name => format!("as argument `{first}` has it"),
                _ => "as an earlier dimension of it has".to_owned(),
            },
        }
    }
}

fn host_extents(args: &[ArgValue<'_>]) -> [Extent; MAX_ARGS] {
    let mut extents = [Extent::default(); MAX_ARGS];
    for (extent, value) in extents.iter_mut().zip(args) {
        let (bytes, offset, written): (&[u8], usize, bool) = match &value.0 {
            Value::Ref { place: RefPlace::Host(host), .. } => (host.bytes, host.offset, false),
            Value::Mut { place: MutPlace::Host(host), .. } => (&*host.bytes, host.offset, true),
            _ => continue,
        };
        *extent = Extent {
            address: bytes.as_ptr() as u64,
            bytes: bytes.len() as u64,
            aligned: offset as u64,
            written,
        };
    }
    extents
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Prepared({} on {})", self.inner.source.name, self.inner.device)
    }
}
