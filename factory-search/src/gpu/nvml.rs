//! The device's state from NVIDIA's management library: clocks, temperature, power, throttling, other processes, energy.
//!
//! A dozen functions of plain numbers, opened at run time like the driver. The well-known wrapper would bring a second
//! version of libloading and of syn into every build that searches. Where the library or a function is missing the state
//! says nothing, which is not the same as saying that all is well.

use std::ffi::{CString, c_char, c_int, c_uint, c_ulonglong, c_void};
use std::sync::OnceLock;

use super::state::DeviceState;

#[cfg(windows)]
const LIBRARIES: &[&str] = &["nvml.dll"];
#[cfg(not(windows))]
const LIBRARIES: &[&str] = &["libnvidia-ml.so.1", "libnvidia-ml.so"];

/// `NVML_CLOCK_*`, `NVML_TEMPERATURE_GPU`, `NVML_ERROR_INSUFFICIENT_SIZE`
const CLOCK_SM: c_uint = 1;
const CLOCK_MEMORY: c_uint = 2;
const TEMPERATURE_GPU: c_uint = 0;
const INSUFFICIENT_SIZE: c_int = 7;

/// `nvmlProcessInfo_t` of `nvmlDeviceGetComputeRunningProcesses_v3`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct ProcessInfo {
    pid: c_uint,
    memory: c_ulonglong,
    instance: c_uint,
    compute_instance: c_uint,
}

type Device = *mut c_void;

struct Library {
    handle: Option<unsafe extern "C" fn(*const c_char, *mut Device) -> c_int>,
    clock: Option<unsafe extern "C" fn(Device, c_uint, *mut c_uint) -> c_int>,
    temperature: Option<unsafe extern "C" fn(Device, c_uint, *mut c_uint) -> c_int>,
    power: Option<unsafe extern "C" fn(Device, *mut c_uint) -> c_int>,
    throttle: Option<unsafe extern "C" fn(Device, *mut c_ulonglong) -> c_int>,
    energy: Option<unsafe extern "C" fn(Device, *mut c_ulonglong) -> c_int>,
    processes: Option<unsafe extern "C" fn(Device, *mut c_uint, *mut ProcessInfo) -> c_int>,
    _library: libloading::Library,
}

impl Library {
    /// Opened and initialised once for the process.
    fn get() -> Result<&'static Library, String> {
        static LIBRARY: OnceLock<Result<Library, String>> = OnceLock::new();
        LIBRARY.get_or_init(Library::open).as_ref().map_err(Clone::clone)
    }

    fn open() -> Result<Library, String> {
        // SAFETY: NVIDIA's library runs initialisers of its own, as every program that uses it lets it.
        let library = LIBRARIES.iter().find_map(|name| unsafe { libloading::Library::new(*name) }.ok());
        let library = library.ok_or_else(|| "NVIDIA's management library is not installed".to_owned())?;
        macro_rules! symbol {
            ($name:literal) => {{
                // SAFETY: the field's type is the function's in NVIDIA's management API, and the library is kept beside it.
                unsafe { library.get(concat!($name, "\0").as_bytes()) }.ok().map(|found| *found)
            }};
        }
        let init: Option<unsafe extern "C" fn() -> c_int> = symbol!("nvmlInit_v2");
        let init =
            init.ok_or_else(|| "NVIDIA's management library is too old: it lacks `nvmlInit_v2`".to_owned())?;
        // SAFETY: the function takes nothing.
        let code = unsafe { init() };
        if code != 0 {
            return Err(format!("nvmlInit_v2: error {code}"));
        }
        Ok(Library {
            handle: symbol!("nvmlDeviceGetHandleByPciBusId_v2"),
            clock: symbol!("nvmlDeviceGetClockInfo"),
            temperature: symbol!("nvmlDeviceGetTemperature"),
            power: symbol!("nvmlDeviceGetPowerUsage"),
            throttle: symbol!("nvmlDeviceGetCurrentClocksThrottleReasons"),
            energy: symbol!("nvmlDeviceGetTotalEnergyConsumption"),
            processes: symbol!("nvmlDeviceGetComputeRunningProcesses_v3"),
            _library: library,
        })
    }
}

/// One device as the management library knows it.
pub(super) struct Monitor {
    library: &'static Library,
    device: Device,
}

impl Monitor {
    /// The device on this bus.
    pub(super) fn of(bus: &str) -> Result<Monitor, String> {
        let library = Library::get()?;
        let text = CString::new(bus).map_err(|_| "the bus's name holds a zero byte".to_owned())?;
        let mut device: Device = std::ptr::null_mut();
        let handle = library.handle.ok_or("NVIDIA's management library cannot look for a bus")?;
        // SAFETY: the text is a C string and the pointer is to a live handle.
        let code = unsafe { handle(text.as_ptr(), &mut device) };
        if code != 0 {
            return Err(format!("nvmlDeviceGetHandleByPciBusId_v2 for `{bus}`: error {code}"));
        }
        Ok(Monitor { library, device })
    }

    /// What the device is doing now.
    pub(super) fn state(&self) -> DeviceState {
        let library = self.library;
        let number = |call: &dyn Fn(*mut c_uint) -> Option<c_int>| -> Option<u32> {
            let mut value = 0;
            (call(&mut value)? == 0).then_some(value)
        };
        // Each call below: the device is the library's own handle, and the pointer is to a live number.
        let clock = |which: c_uint| {
            // SAFETY: as above.
            number(&|value| library.clock.map(|clock| unsafe { clock(self.device, which, value) }))
        };
        let temperature = number(&|value| {
            // SAFETY: as above.
            library.temperature.map(|temperature| unsafe { temperature(self.device, TEMPERATURE_GPU, value) })
        });
        // SAFETY: as above.
        let power = number(&|value| library.power.map(|power| unsafe { power(self.device, value) }));
        DeviceState {
            sm_mhz: clock(CLOCK_SM),
            memory_mhz: clock(CLOCK_MEMORY),
            celsius: temperature,
            watts: power.map(|milliwatts| f64::from(milliwatts) * 1e-3),
            throttle: self.long(library.throttle),
            other_processes: self.other_processes(),
        }
    }

    /// Joules since the driver was loaded.
    pub(super) fn joules(&self) -> Option<f64> {
        self.long(self.library.energy).map(|millijoules| millijoules as f64 * 1e-3)
    }

    fn long(&self, function: Option<unsafe extern "C" fn(Device, *mut c_ulonglong) -> c_int>) -> Option<u64> {
        let mut value = 0;
        // SAFETY: the device is the library's own handle, and the pointer is to a live number.
        let code = unsafe { function?(self.device, &mut value) };
        (code == 0).then_some(value)
    }

    /// Processes that compute on the device, without this one.
    fn other_processes(&self) -> Option<u32> {
        let processes = self.library.processes?;
        let mut list = [ProcessInfo::default(); 64];
        let mut count = list.len() as c_uint;
        // SAFETY: the device is the library's own handle; the list has as many entries as the count says.
        let code = unsafe { processes(self.device, &mut count, list.as_mut_ptr()) };
        match code {
            // Where more than fit, the count says how many there are.
            0 | INSUFFICIENT_SIZE => Some(super::state::others(count)),
            _ => None,
        }
    }
}
