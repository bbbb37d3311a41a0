//! What state the device was in while it was measured, and whether that disturbed the measurement.

use serde::{Deserialize, Serialize};

use super::turn::Turn;

/// The device at one moment; `None` for what the management library does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DeviceState {
    /// Clock of the multiprocessors in MHz.
    pub sm_mhz: Option<u32>,
    /// Clock of the memory in MHz.
    pub memory_mhz: Option<u32>,
    /// Temperature of the chip.
    pub celsius: Option<u32>,
    /// Power in watts.
    pub watts: Option<f64>,
    /// Why clocks are held back: the library's bits.
    pub throttle: Option<u64>,
    /// Processes besides this one that compute on the device.
    pub other_processes: Option<u32>,
}

/// Reasons for throttling: `nvmlClocksThrottleReason*`.
const SOFTWARE_POWER_CAP: u64 = 0x4;
const HARDWARE_SLOWDOWN: u64 = 0x8;
const SOFTWARE_THERMAL: u64 = 0x20;
const HARDWARE_THERMAL: u64 = 0x40;
const HARDWARE_POWER_BRAKE: u64 = 0x80;

/// From when on a change of state disturbs a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DisturbanceLimits {
    /// Relative change of the multiprocessors' clock.
    pub sm_clock: f64,
    /// Relative change of the memory's clock.
    pub memory_clock: f64,
    /// Degrees by which the chip became warmer or colder.
    pub celsius: u32,
    /// Bits of reasons for throttling that no measurement may meet.
    pub throttle: u64,
    /// Other processes that may compute on the device: 0 unless several workers share it by intent.
    pub other_processes: u32,
}

impl Default for DisturbanceLimits {
    fn default() -> Self {
        Self {
            sm_clock: 0.03,
            memory_clock: 0.01,
            celsius: 15,
            throttle: HARDWARE_SLOWDOWN | SOFTWARE_THERMAL | HARDWARE_THERMAL | HARDWARE_POWER_BRAKE,
            other_processes: 0,
        }
    }
}

/// Something that makes a measurement doubtful.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "disturbance", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Disturbance {
    /// The multiprocessors' clock changed.
    SmClock {
        /// MHz before.
        before: u32,
        /// MHz after.
        after: u32,
    },
    /// The memory's clock changed.
    MemoryClock {
        /// MHz before.
        before: u32,
        /// MHz after.
        after: u32,
    },
    /// The chip became warmer or colder.
    Temperature {
        /// Degrees before.
        before: u32,
        /// Degrees after.
        after: u32,
    },
    /// Clocks were held back.
    Throttled {
        /// The library's bits, those that count alone.
        reasons: u64,
    },
    /// Somebody else computed on the device.
    OtherProcesses {
        /// How many, at most.
        count: u32,
    },
}

impl std::fmt::Display for Disturbance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::SmClock { before, after } => {
                write!(f, "the multiprocessors' clock went from {before} to {after} MHz")
            }
            Self::MemoryClock { before, after } => {
                write!(f, "the memory's clock went from {before} to {after} MHz")
            }
            Self::Temperature { before, after } => {
                write!(f, "the temperature went from {before} to {after} degrees")
            }
            Self::Throttled { reasons } => write!(f, "clocks were held back: {}", throttle_names(*reasons)),
            Self::OtherProcesses { count } => write!(f, "{count} other processes computed on the device"),
        }
    }
}

fn throttle_names(reasons: u64) -> String {
    let known = [
        (SOFTWARE_POWER_CAP, "power cap"),
        (HARDWARE_SLOWDOWN, "hardware slowdown"),
        (SOFTWARE_THERMAL, "thermal limit of the driver"),
        (HARDWARE_THERMAL, "thermal limit of the hardware"),
        (HARDWARE_POWER_BRAKE, "power brake"),
    ];
    let names: Vec<&str> =
        known.iter().filter(|(bit, _)| reasons & bit != 0).map(|(_, name)| *name).collect();
    if names.is_empty() { format!("{reasons:#x}") } else { names.join(", ") }
}

/// What disturbed a measurement between two states. What is not known disturbs nothing.
pub(super) fn disturbances(
    before: &DeviceState,
    after: &DeviceState,
    limits: &DisturbanceLimits,
) -> Vec<Disturbance> {
    let mut found = Vec::new();
    let changed =
        |a: u32, b: u32, limit: f64| (f64::from(a) - f64::from(b)).abs() > limit * f64::from(a.max(b));
    if let (Some(a), Some(b)) = (before.sm_mhz, after.sm_mhz)
        && changed(a, b, limits.sm_clock)
    {
        found.push(Disturbance::SmClock { before: a, after: b });
    }
    if let (Some(a), Some(b)) = (before.memory_mhz, after.memory_mhz)
        && changed(a, b, limits.memory_clock)
    {
        found.push(Disturbance::MemoryClock { before: a, after: b });
    }
    if let (Some(a), Some(b)) = (before.celsius, after.celsius)
        && a.abs_diff(b) > limits.celsius
    {
        found.push(Disturbance::Temperature { before: a, after: b });
    }
    let reasons = (before.throttle.unwrap_or(0) | after.throttle.unwrap_or(0)) & limits.throttle;
    if reasons != 0 {
        found.push(Disturbance::Throttled { reasons });
    }
    let count = before.other_processes.unwrap_or(0).max(after.other_processes.unwrap_or(0));
    if count > limits.other_processes {
        found.push(Disturbance::OtherProcesses { count });
    }
    found
}

/// How many of so many processes are not this one, which computes on the device too. (Its number is no help: in a container
/// the library names processes by those of another namespace.)
pub(super) fn others(processes: u32) -> u32 {
    processes.saturating_sub(1)
}

/// States around a part of a measurement.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Watched {
    /// After warming up.
    pub before: Option<DeviceState>,
    /// After the last window.
    pub after: Option<DeviceState>,
    /// What makes it doubtful.
    pub disturbances: Vec<Disturbance>,
    /// Why there are no states.
    pub unknown: Option<String>,
    /// Whether it waited for other searches, and had the GPU to itself; `None` where it simply had it.
    #[serde(default)]
    pub turn: Option<Box<Turn>>,
}

impl Watched {
    pub(super) fn between(before: DeviceState, after: DeviceState, limits: &DisturbanceLimits) -> Watched {
        let disturbances = disturbances(&before, &after, limits);
        Watched { before: Some(before), after: Some(after), disturbances, ..Watched::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STILL: DeviceState = DeviceState {
        sm_mhz: Some(1980),
        memory_mhz: Some(3201),
        celsius: Some(45),
        watts: Some(300.0),
        throttle: Some(0),
        other_processes: Some(0),
    };

    fn found(after: DeviceState) -> Vec<Disturbance> {
        disturbances(&STILL, &after, &DisturbanceLimits::default())
    }

    #[test]
    fn a_still_device_disturbs_nothing_and_neither_does_what_is_not_known() {
        assert!(found(STILL).is_empty());
        assert!(
            found(DeviceState { sm_mhz: Some(1950), celsius: Some(58), watts: Some(690.0), ..STILL })
                .is_empty()
        );
        assert!(found(DeviceState::default()).is_empty());
        // A power cap is how some devices always run: recorded, not counted.
        assert!(found(DeviceState { throttle: Some(SOFTWARE_POWER_CAP | 1), ..STILL }).is_empty());
    }

    #[test]
    fn each_change_is_named() {
        assert_eq!(
            found(DeviceState { sm_mhz: Some(1755), ..STILL }),
            [Disturbance::SmClock { before: 1980, after: 1755 }]
        );
        assert_eq!(
            found(DeviceState { memory_mhz: Some(2619), ..STILL }),
            [Disturbance::MemoryClock { before: 3201, after: 2619 }]
        );
        assert_eq!(
            found(DeviceState { celsius: Some(61), ..STILL }),
            [Disturbance::Temperature { before: 45, after: 61 }]
        );
        assert_eq!(
            found(DeviceState { throttle: Some(HARDWARE_THERMAL | SOFTWARE_POWER_CAP), ..STILL }),
            [Disturbance::Throttled { reasons: HARDWARE_THERMAL }]
        );
        assert_eq!(
            found(DeviceState { other_processes: Some(2), ..STILL }),
            [Disturbance::OtherProcesses { count: 2 }]
        );
        // Somebody who was there before counts as much, unless that was agreed on.
        let shared = DeviceState { other_processes: Some(1), ..STILL };
        assert_eq!(disturbances(&shared, &STILL, &DisturbanceLimits::default()).len(), 1);
        let limits = DisturbanceLimits { other_processes: 1, ..DisturbanceLimits::default() };
        assert!(disturbances(&shared, &STILL, &limits).is_empty());
        let text = Disturbance::Throttled { reasons: HARDWARE_THERMAL }.to_string();
        assert!(text.contains("thermal limit of the hardware"), "{text}");
    }

    #[test]
    fn this_process_is_not_another() {
        assert_eq!([0, 1, 2, 5].map(others), [0, 0, 1, 4]);
    }
}
