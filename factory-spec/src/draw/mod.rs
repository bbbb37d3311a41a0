//! Cases: which sizes to check a kernel at, and what to fill its inputs with.
//!
//! Everything follows from a seed, by integer arithmetic and the oracle's own logarithm: the same bits on every machine.
//!
//! What the kinds of inputs are, for floating point types. Whatever the kind, values are rounded to the dtype.
//!
//! | kind | values |
//! | --- | --- |
//! | `normal` | standard normal |
//! | `uniform` | uniform in [-1, 1) |
//! | `zeros`, `ones` | nothing but 0, 1 |
//! | `constant` | one of 0.75, -1.5, 2.5, 0.625 |
//! | `huge`, `tiny` | magnitudes from 2^40, 2^-40 on (f32, bf16), 2^±13 (f16, f8e5m2), 2^7 and 2^-6 (f8e4m3), 2^±200 (f64), up to twice that, of either sign: far from 1, yet squares of the wide types neither overflow nor vanish in f32 |
//! | `subnormal` | subnormal numbers of the dtype, of either sign |
//! | `one_hot` | zeros, but for one element from ±1 to ±2.75 in each innermost row |
//! | `mixed` | magnitudes from 2^-10 to 2^10 (less for f8e4m3), evenly over the exponents |
//! | `prefix` | normal, the first quarter to three quarters of the tensor scaled by 2^-8, the rest by 2^8 (less for narrow types) |
//! | `outlier` | normal, scaled by 2^-8, but for one element of 2^8 and more |
//! | `blocks` | normal, each 32 neighbours scaled by a power of two from 2^-8 to 2^8 |
//! | `shuffled` | those of `prefix` in random order |
//! | `alternating` | a constant of alternating sign |
//! | `iota` | 0, 1, 2, … starting again where the dtype would round, at 512 at the latest |
//! | `infinite`, `nan` | normal, but for one infinity or NaN in 37 |
//!
//! Integers: `uniform` covers all of i8 and u8 and ±1000 of wider ones, `huge` is next to the limits (2^40 for i64),
//! `tiny` is -1, 0 or 1; the others are the nearest thing.

mod random;
mod sizes;
mod strides;
mod values;

use std::collections::BTreeMap;

use crate::oracle::Inputs;
use crate::{Arg, BoundSpec, InputKind, SizeValues};

pub(crate) use random::{Random, mix};

/// One check: sizes, and what the inputs are filled with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The sizes
    pub sizes: SizeValues,
    /// What each tensor that is read is filled with, by the argument's name; `normal` where it is not named
    pub kinds: BTreeMap<String, InputKind>,
    /// Seed of the inputs
    pub seed: u64,
}

impl Case {
    /// The sizes and kinds, for people: `m=3 n=8, x: huge`.
    pub fn describe(&self, spec: &BoundSpec) -> String {
        let sizes: Vec<String> = spec
            .sizes
            .iter()
            .zip(&self.sizes.0)
            .map(|(size, value)| format!("{}={value}", size.name))
            .collect();
        let kinds: Vec<String> = self.kinds.iter().map(|(name, kind)| format!("{name}: {kind}")).collect();
        format!("{}; {}; seed {}", sizes.join(" "), kinds.join(", "), self.seed)
    }
}

/// How many cases to draw, and how large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrawOptions {
    /// The most cases, unless the spec's own cases and kinds of inputs need more
    pub count: usize,
    /// The most elements that all arguments of a drawn case have together; the spec's own cases may exceed it
    pub max_elements: u64,
}

impl Default for DrawOptions {
    /// 24 cases of at most 65536 elements.
    fn default() -> Self {
        DrawOptions { count: 24, max_elements: 1 << 16 }
    }
}

/// The kinds that inputs are drawn from where the spec does not say. Values that are not finite, and subnormal ones, are
/// only drawn where it asks for them.
const USUAL: [InputKind; 15] = [
    InputKind::Normal,
    InputKind::Prefix,
    InputKind::Tiny,
    InputKind::Outlier,
    InputKind::Mixed,
    InputKind::OneHot,
    InputKind::Blocks,
    InputKind::Zeros,
    InputKind::Huge,
    InputKind::Shuffled,
    InputKind::Uniform,
    InputKind::Constant,
    InputKind::Alternating,
    InputKind::Ones,
    InputKind::Iota,
];

/// The cases to check a kernel with, for a seed; see [`draw_cases_with`].
pub fn draw_cases(spec: &BoundSpec, seed: u64) -> Vec<Case> {
    draw_cases_with(spec, seed, &DrawOptions::default())
}

/// The cases to check a kernel with: the spec's own, then the edges of its domain, spread over kinds of inputs.
///
/// In the first case at each of the spec's own sizes every operand is ordinary (the first of its kinds). Later, the
/// operands take turns at the kinds that they are allowed while the others stay ordinary, and in every fourth case all
/// are drawn at random. Some sizes come twice with different inputs. There are no cases where no sizes of the domain have
/// few enough elements and the spec has none of its own.
pub fn draw_cases_with(spec: &BoundSpec, seed: u64, options: &DrawOptions) -> Vec<Case> {
    let mut random = Random::new(mix(seed ^ 0x6361_7365));
    let operands: Vec<&Arg> = spec.inputs().map(|(_, arg)| arg).filter(|arg| !arg.scalar).collect();
    let asked: usize =
        operands.iter().filter_map(|arg| spec.correct.inputs.get(&arg.name)).map(Vec::len).sum();
    let own = &spec.correct.cases;
    let count = options.count.max(own.len() + asked);

    // Two of three sizes are new, one comes again.
    let fresh = (count.saturating_sub(own.len()) * 2).div_ceil(3);
    let drawn = sizes::draw(spec, fresh, options.max_elements, &mut random);
    let again: Vec<SizeValues> = drawn
        .iter()
        .chain(own.iter().filter(|sizes| sizes::total(spec, sizes) <= options.max_elements))
        .cloned()
        .collect();
    let mut all: Vec<SizeValues> = own.clone();
    for (index, sizes) in drawn.iter().enumerate() {
        all.push(sizes.clone());
        if index % 2 == 1 {
            all.push(sizes.clone());
        }
    }
    while all.len() < count && !again.is_empty() {
        all.push(again[random.below(again.len() as u64) as usize].clone());
    }
    all.truncate(count.max(own.len()));

    let mut turns = 0usize;
    all.into_iter()
        .enumerate()
        .map(|(index, sizes)| {
            let lead = if index < own.len() || operands.is_empty() {
                None
            } else {
                turns += 1;
                Some((turns - 1) % operands.len())
            };
            let kinds = operands
                .iter()
                .enumerate()
                .map(|(operand, arg)| {
                    let allowed = allowed(spec, arg);
                    let kind = match lead {
                        Some(lead) if lead == operand => {
                            allowed[((turns - 1) / operands.len()) % allowed.len()]
                        }
                        Some(_) if index % 4 == 3 => allowed[random.below(allowed.len() as u64) as usize],
                        _ => allowed[0],
                    };
                    (arg.name.clone(), kind)
                })
                .collect();
            Case { sizes, kinds, seed: mix(seed ^ mix(index as u64 + 1)) }
        })
        .collect()
}

/// The kinds that an operand may be filled with, never none.
fn allowed<'a>(spec: &'a BoundSpec, arg: &Arg) -> &'a [InputKind] {
    match spec.correct.inputs.get(&arg.name) {
        Some(kinds) if !kinds.is_empty() => kinds,
        _ => &USUAL,
    }
}

/// The inputs of a case: the same bits on every machine.
///
/// A scalar is one of the spec's `values`; where there are none it is from 0.5 to 2, or a whole number from 1 to 8.
pub fn draw_inputs(spec: &BoundSpec, case: &Case) -> Inputs {
    let mut inputs = Inputs::default();
    for (id, arg) in spec.inputs() {
        let mut random = Random::new(mix(case.seed ^ mix(0x0069_6e70_7574 + u64::from(id.0))));
        let values = if arg.scalar {
            vec![arg.dtype.round(scalar(arg, &mut random))]
        } else {
            let row = arg.shape.last().map_or(1, |size| case.sizes[*size] as usize);
            let kind = case.kinds.get(&arg.name).copied().unwrap_or(InputKind::Normal);
            values::fill(kind, arg.dtype, spec.elements(arg, &case.sizes), row, &mut random)
        };
        inputs.0.insert(id, values);
    }
    inputs
}

fn scalar(arg: &Arg, random: &mut Random) -> f64 {
    match arg.values.as_slice() {
        [] if arg.dtype.is_float() => 0.5 + 1.5 * random.unit(),
        [] => (1 + random.below(8)) as f64,
        values => values[random.below(values.len() as u64) as usize],
    }
}
