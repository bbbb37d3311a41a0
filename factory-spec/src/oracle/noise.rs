//! Monte Carlo arithmetic: how far results move when every operation is a little wrong.
//!
//! Each result is multiplied by 1 + d, |d| at most the unit roundoff of the precision that a kernel works in. The
//! distance from the undisturbed results is then a measure of what honest rounding may do to these very inputs, however
//! badly conditioned they are (Parker, "Monte Carlo Arithmetic", UCLA CSD-970002, 1997). `d` is a hash of the value, so
//! that equal values are disturbed equally, as rounding would, and the result does not depend on threads.

use super::kernels::Elementwise;
use crate::{BinaryOp, NodeId, UnaryOp};

/// How to disturb.
#[derive(Clone, Copy, Debug)]
pub(super) struct Noise {
    /// The largest relative disturbance
    pub(super) unit: f64,
    /// Chooses the disturbances
    pub(super) seed: u64,
}

impl Noise {
    /// Disturbs the results of an operation, unless it is exact in any precision.
    pub(super) fn disturb(&self, op: Elementwise, node: NodeId, values: &mut [f64]) {
        let keeps_whole_numbers = match op {
            Elementwise::Unary(
                UnaryOp::Neg | UnaryOp::Abs | UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Round,
            )
            | Elementwise::Binary(BinaryOp::Min | BinaryOp::Max)
            | Elementwise::Compare(_)
            | Elementwise::Logic(_)
            | Elementwise::Not
            | Elementwise::Select
            | Elementwise::Cast(_) => return,
            Elementwise::Binary(_) => true,
            Elementwise::Unary(_) => false,
        };
        for value in values {
            // Arithmetic on indices stays exact, or masks would move.
            if keeps_whole_numbers && value.abs() * self.unit < 1.0 && value.fract() == 0.0 {
                continue;
            }
            *value = self.disturbed(*value, node);
        }
    }

    /// Disturbs what goes into a sum or product, in place of the roundings of its steps.
    pub(super) fn disturb_terms(&self, node: NodeId, values: &mut [f64]) {
        for value in values {
            *value = self.disturbed(*value, node);
        }
    }

    /// One disturbed value.
    pub(super) fn disturbed(&self, value: f64, node: NodeId) -> f64 {
        let hash = crate::draw::mix(value.to_bits() ^ crate::draw::mix(self.seed ^ u64::from(node.0)));
        let fraction = (hash >> 11) as f64 * (2.0 / (1u64 << 53) as f64) - 1.0;
        value + value * (fraction * self.unit)
    }
}
