//! Whether two answers agree.

use std::fmt;

use crate::bound::Bound;
use crate::form::Form;
use crate::recording::{Entry, hash};

/// How far approximate answers were off, or how many cases agreed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Agreement {
    /// Cases compared.
    pub cases: usize,
    /// Greatest distance in units in the last place, between finite non-zero answers.
    pub ulps: f64,
    /// Greatest relative distance.
    pub relative: f64,
    /// Greatest absolute distance.
    pub absolute: f64,
    /// Cases whose answers had the same bits.
    pub equal: usize,
}

/// The first case that disagrees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its number; for a hashed run, the first of the run.
    pub case: usize,
    /// Cases that the difference may lie in: 1, or a run's length.
    pub among: usize,
    /// How many cases (or runs) disagree.
    pub count: usize,
    /// Operands, and both answers, in words.
    pub text: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.among == 1 {
            write!(f, "case {}: {} ({} differ)", self.case, self.text, self.count)
        } else {
            let last = self.case + self.among - 1;
            write!(f, "cases {} to {last}: {} ({} such runs)", self.case, self.text, self.count)
        }
    }
}

/// What a comparison found.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// All cases agree, or are within the bound.
    Agree(Agreement),
    /// Some do not.
    Differ(Difference),
    /// The form or its inputs are not those that were recorded.
    Stale,
}

fn bits(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len().min(8)].copy_from_slice(&bytes[..bytes.len().min(8)]);
    u64::from_le_bytes(word)
}

fn show(form: &Form, case: usize, machine: &[u8], gpu: Option<&[u8]>) -> String {
    let stride = form.output.stride;
    let fields = |bytes: &[u8]| {
        let fields = form.output.fields.iter().map(|(at, size, _)| {
            let value = bits(&bytes[case * stride + at..case * stride + at + size]);
            format!("{value:#0width$x}", width = 2 + 2 * size)
        });
        fields.collect::<Vec<_>>().join(" ")
    };
    let operands = form
        .operands
        .get(case)
        .map(|values| values.iter().map(|value| format!("{value:#x}")).collect::<Vec<_>>().join(" "));
    let operands = operands.unwrap_or_default();
    match gpu {
        Some(gpu) => format!("operands {operands}; machine {}, GPU {}", fields(machine), fields(gpu)),
        None => format!("first operands {operands}; machine {}", fields(machine)),
    }
}

/// Every case whose bits differ, in words.
pub fn differences(form: &Form, machine: &[u8], gpu: &[u8]) -> Vec<String> {
    let stride = form.output.stride.max(1);
    let cases = 0..machine.len().min(gpu.len()) / stride;
    cases
        .filter(|case| machine[case * stride..(case + 1) * stride] != gpu[case * stride..(case + 1) * stride])
        .map(|case| format!("case {case}: {}", show(form, case, machine, Some(gpu))))
        .collect()
}

/// Compares the machine's answers with what was recorded.
pub fn compare(form: &Form, machine: &[u8], recorded: &Entry) -> Verdict {
    if recorded.digest != form.digest() {
        return Verdict::Stale;
    }
    let stride = form.output.stride.max(1);
    let raw = recorded.raw.len().min(machine.len());
    if let Some(bound) = form.bound {
        return within(form, bound, &machine[..raw], &recorded.raw);
    }
    let differing: Vec<usize> = (0..raw / stride)
        .filter(|case| {
            machine[case * stride..(case + 1) * stride] != recorded.raw[case * stride..(case + 1) * stride]
        })
        .collect();
    if let Some(&case) = differing.first() {
        let text = show(form, case, machine, Some(&recorded.raw));
        return Verdict::Differ(Difference { case, among: 1, count: differing.len(), text });
    }
    let run = form.run * stride;
    let runs: Vec<usize> = machine[raw..]
        .chunks(run)
        .enumerate()
        .filter(|(index, bytes)| recorded.hashes.get(*index) != Some(&hash(bytes)))
        .map(|(index, _)| raw / stride + index * form.run)
        .collect();
    if let Some(&case) = runs.first() {
        let text = show(form, case, machine, None);
        let among = form.run.min(form.cases() - case);
        return Verdict::Differ(Difference { case, among, count: runs.len(), text });
    }
    Verdict::Agree(Agreement { cases: form.cases(), equal: form.cases(), ..Agreement::default() })
}

/// A value of a field's kind, with the distance to its neighbour there.
fn value(kind: &str, bits: u64) -> (f64, f64) {
    let (value, fraction, least) = match kind {
        "f64" => (f64::from_bits(bits), 52, -1022),
        "f16" => (half(bits as u16), 10, -14),
        "bf16" => (f64::from(f32::from_bits((bits as u32) << 16)), 7, -126),
        _ => (f64::from(f32::from_bits(bits as u32)), 23, -126),
    };
    let exponent = if value == 0.0 { least } else { (value.abs().log2().floor() as i32).max(least) };
    (value, f64::from(exponent - fraction).exp2())
}

fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    let magnitude = match exponent {
        0 => fraction * f64::from(-24).exp2(),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * f64::from(exponent - 25).exp2(),
    };
    if bits >> 15 != 0 { -magnitude } else { magnitude }
}

/// The numbers of one answer: packed ones have two.
fn numbers(kind: &str, bits: u64) -> Vec<(&'static str, u64)> {
    match kind {
        "f16x2" => vec![("f16", bits & 0xffff), ("f16", bits >> 16 & 0xffff)],
        "bf16x2" => vec![("bf16", bits & 0xffff), ("bf16", bits >> 16 & 0xffff)],
        "f16" => vec![("f16", bits)],
        "bf16" => vec![("bf16", bits)],
        "f64" => vec![("f64", bits)],
        _ => vec![("f32", bits)],
    }
}

/// Compares approximate answers. The machine's are exact but for rounding, which is allowed half a unit of its own.
fn within(form: &Form, bound: Bound, machine: &[u8], gpu: &[u8]) -> Verdict {
    let mut agreement = Agreement::default();
    let stride = form.output.stride;
    let mut differing = Vec::new();
    for case in 0..machine.len() / stride {
        agreement.cases += 1;
        let here = case * stride..(case + 1) * stride;
        agreement.equal += usize::from(machine[here.clone()] == gpu[here]);
        for (at, size, kind) in &form.output.fields {
            let field = case * stride + at..case * stride + at + size;
            let pairs = numbers(kind, bits(&machine[field.clone()]))
                .into_iter()
                .zip(numbers(kind, bits(&gpu[field])));
            for ((kind, machine), (_, gpu)) in pairs {
                if machine == gpu {
                    continue;
                }
                let ((exact, unit), (given, _)) = (value(kind, machine), value(kind, gpu));
                if exact.is_nan() || given.is_nan() || exact.is_infinite() || given.is_infinite() {
                    differing.push(case);
                    continue;
                }
                let absolute = (given - exact).abs();
                let relative = if exact == 0.0 { f64::INFINITY } else { absolute / exact.abs() };
                let operand =
                    form.operands.get(case).map_or(0.0, |operands| value("f32", operands[0]).0.abs());
                let limit = match bound {
                    Bound::Ulps(ulps) => (ulps + 0.5) * unit,
                    // Both are rounded, half a unit each at most; among subnormals that is more than the bound.
                    Bound::Relative(relative) => relative * exact.abs() + unit,
                    Bound::Absolute(absolute) => absolute + 0.5 * unit,
                    Bound::Log2 if (0.5..=2.0).contains(&operand) => f64::exp2(-22.0) + 0.5 * unit,
                    Bound::Log2 => f64::exp2(-22.0) * exact.abs() + 0.5 * unit,
                    Bound::Trigonometric if operand <= std::f64::consts::TAU => f64::exp2(-20.5) + 0.5 * unit,
                    Bound::Trigonometric => f64::exp2(-14.7) + 0.5 * unit,
                    Bound::Unstated => f64::INFINITY,
                };
                if absolute > limit || (exact == 0.0 && given == 0.0) {
                    differing.push(case);
                    continue;
                }
                agreement.ulps = agreement.ulps.max(absolute / unit);
                agreement.absolute = agreement.absolute.max(absolute);
                if relative.is_finite() {
                    agreement.relative = agreement.relative.max(relative);
                }
            }
        }
    }
    differing.dedup();
    match differing.first() {
        Some(&case) => {
            let text = show(form, case, machine, Some(gpu));
            Verdict::Differ(Difference { case, among: 1, count: differing.len(), text })
        }
        None => Verdict::Agree(agreement),
    }
}
