//! One candidate, one verdict: the gates that need no GPU, in order, as a search runs them.

use factory_spec::BoundSpec;

use crate::candidate::Candidate;
use crate::cases::Cases;
use crate::gates;
use crate::screen::Screen;
use crate::toolchain::Ptxas;
use crate::verdict::Rejection;

/// What the gates that ran have seen of a candidate that passed them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Judged {
    /// Cases that the PTX machine ran.
    pub cases: u32,
    /// Whether ptxas was asked.
    pub assembled: bool,
}

/// Runs parse, policy, assemble (with a ptxas) and machine on a candidate.
///
/// # Errors
/// The first refusal.
pub fn judge(
    spec: &BoundSpec,
    candidate: &Candidate,
    cases: &Cases,
    ptxas: Option<&Ptxas>,
    seed: u64,
) -> Result<Judged, Rejection> {
    let screen = Screen::new(spec, cases, seed, None, None);
    let module = screen.read(candidate)?;
    if let Some(ptxas) = ptxas {
        gates::assemble::assemble(ptxas, &candidate.ptx, candidate.arch)?;
    }
    screen.quick(candidate, &module)?;
    let cases = screen.full(candidate, &module, 1)?;
    Ok(Judged { cases, assembled: ptxas.is_some() })
}
