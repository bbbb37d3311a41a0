//! What a search times candidates with.

use factory_spec::{BoundSpec, SizeValues};

use crate::candidate::Candidate;
use crate::cases::Cases;
use crate::gpu::{DeviceReport, Gpu, MeasureOptions, Timing};
use crate::verdict::{Gate, Reason, Rejection};

/// Checks and times candidates: a GPU in this process, workers somewhere else, or a record of earlier times.
///
/// A search believes its outcomes. What a measurer calls passed must have gone through the device gate and the clock as
/// [`crate::gpu`] describes them.
pub trait Measurer {
    /// The device, as certificates name it.
    fn name(&self) -> &str;

    /// The driver's version.
    fn driver(&self) -> &str;

    /// Compute capability, major and minor.
    fn capability(&self) -> (u32, u32);

    /// The device gate for each candidate, then the clock for those that pass; one outcome a candidate, in their order.
    ///
    /// # Errors
    /// Nothing could be measured at all; in words.
    fn check_and_time(
        &mut self,
        spec: &BoundSpec,
        cases: &Cases,
        sizes: &SizeValues,
        candidates: &[&Candidate],
        options: &MeasureOptions,
    ) -> Result<Timing, String>;

    /// The device gate for one candidate.
    ///
    /// # Errors
    /// The refusal. Where there is no device that could run it, that is the infrastructure's.
    fn check(
        &mut self,
        spec: &BoundSpec,
        cases: &Cases,
        candidate: &Candidate,
    ) -> Result<DeviceReport, Rejection> {
        let _ = (spec, cases, candidate);
        let message = format!("{} cannot check candidates one by one", self.name());
        Err(Rejection::new(Gate::Device, Reason::Infrastructure { message }))
    }

    /// The device gate on cases that nobody has seen before, as the holdout gate; `None` where there is no device that could
    /// run them.
    fn hold_out(
        &mut self,
        spec: &BoundSpec,
        cases: &Cases,
        candidate: &Candidate,
    ) -> Option<Result<DeviceReport, Rejection>> {
        let _ = (spec, cases, candidate);
        None
    }
}

impl Measurer for Gpu {
    fn name(&self) -> &str {
        Gpu::name(self)
    }

    fn driver(&self) -> &str {
        Gpu::driver(self)
    }

    fn capability(&self) -> (u32, u32) {
        Gpu::capability(self)
    }

    fn check_and_time(
        &mut self,
        spec: &BoundSpec,
        cases: &Cases,
        sizes: &SizeValues,
        candidates: &[&Candidate],
        options: &MeasureOptions,
    ) -> Result<Timing, String> {
        Gpu::check_and_time(self, spec, cases, sizes, candidates, options).map_err(String::from)
    }

    fn check(
        &mut self,
        spec: &BoundSpec,
        cases: &Cases,
        candidate: &Candidate,
    ) -> Result<DeviceReport, Rejection> {
        Gpu::check(self, spec, cases, candidate)
    }

    fn hold_out(
        &mut self,
        spec: &BoundSpec,
        cases: &Cases,
        candidate: &Candidate,
    ) -> Option<Result<DeviceReport, Rejection>> {
        Some(Gpu::hold_out(self, spec, cases, candidate))
    }
}
