//! Writes candidates from a reference program.
//!
//! A [`Space`] holds what a program asks for; a [`Config`] says how one kernel does it; [`Space::generate`] lowers the two to
//! PTX and to the exact condition on the sizes under which that PTX is right. [`Space::fallback`] is right for every size.
//!
//! # What is lowered
//!
//! Programs whose reductions all run over the same innermost sizes, any number of passes, and programs without reductions.
//! Other operands may lie any way: what does not have the columns innermost is read element by element. Anything else is
//! [`Declined`], with the place in the spec.
//!
//! # What is computed
//!
//! Floats are `f32`, or `f64` as soon as a tensor is `f64` or an output of 32 or 64 bits is rounded from a float. Integers
//! are 32-bit where their limits allow and else 64-bit; beyond 64 bits they wrap. Sums are taken per vector as a tree, per
//! thread in order, and across threads as a tree, always in the same order: the same inputs give the same bits.
//!
//! An intermediate value of `f32` kernels has the range of `f32`: the square of a `bf16` beyond 1.8e19 overflows, as it
//! does in every kernel that accumulates in `f32`, where the oracle's `f64` does not.

mod coefficients;
mod config;
mod declined;
mod kinds;
mod lower;
mod math;
mod space;
mod split;
mod value;
mod variant;

pub use config::{Config, Keep, Weights};
pub use declined::{Declined, Reason};

use factory_spec::{Arch, BoundSpec, Program, Reference};

use crate::candidate::Candidate;
use kinds::Kinds;
use lower::{Source, lower};
use split::Split;

/// All kernels that the generator knows for one spec.
#[derive(Clone, Debug)]
pub struct Space<'a> {
    spec: &'a BoundSpec,
    program: &'a Program,
    split: Split,
    kinds: Kinds,
    wide_kinds: Kinds,
}

impl<'a> Space<'a> {
    /// Looks at the program; declines it, with the reason and its place, when it cannot be lowered.
    pub fn new(spec: &'a BoundSpec) -> Result<Space<'a>, Declined> {
        let Reference::Program(program) = &spec.reference else {
            return Err(Declined::whole(Reason::CReference));
        };
        if let Some(arg) = spec.args.iter().find(|arg| arg.row_stride.is_some()) {
            return Err(Declined::whole(Reason::RowStride { arg: arg.name.clone() }));
        }
        let split = Split::new(spec, program)?;
        let kinds = Kinds::new(spec, program, &split, false);
        let wide_kinds = Kinds::new(spec, program, &split, true);
        kinds.check_empty(spec, program, &split)?;
        Ok(Space { spec, program, split, kinds, wide_kinds })
    }

    /// Lowers one configuration.
    ///
    /// # Errors
    ///
    /// When the program cannot have this configuration; those of [`Space::configurations`] it can.
    pub fn generate(&self, config: &Config, arch: Arch) -> Result<Candidate, Declined> {
        self.check(config).map_err(Declined::whole)?;
        Ok(self.lowered(config, arch))
    }

    /// A candidate that serves every size of the domain, at any alignment of whole elements.
    pub fn fallback(&self, arch: Arch) -> Candidate {
        self.lowered(&self.fallback_config(), arch)
    }

    fn lowered(&self, config: &Config, arch: Arch) -> Candidate {
        let kinds = if config.wide { &self.wide_kinds } else { &self.kinds };
        let entry = format!("kernel_{config}");
        let source = Source { spec: self.spec, program: self.program, split: &self.split, kinds, config };
        let lowered = lower(source, &entry);
        let version = match arch {
            Arch::Sm90 | Arch::Sm90a => (7, 8),
            _ => (8, 6),
        };
        let module = factory_ptx::builder::module(version, arch.name(), [lowered.items]);
        Candidate {
            id: config.to_string(),
            proposer: "generator",
            origin: Default::default(),
            image: None,
            tunables: config.tunables(),
            arch,
            ptx: module.to_string(),
            variant: variant::variant(
                self.spec,
                &self.split,
                config,
                &entry,
                lowered.params,
                lowered.shared_bytes,
            ),
        }
    }
}
