//! Which lane and register holds which element of a matrix (PTX ISA, "Matrix fragments for mma").
//!
//! All shapes but the oldest follow one rule. A lane belongs to group `lane / 4` and is number `lane % 4` in it. A
//! register holds `32 / bits` neighbours along the dimension that is summed over, the four lanes of a group hold
//! neighbouring registers of one row of A or one column of B, and further registers lie 8 rows down, then as much
//! further along. C and D have two neighbouring columns in each lane, and 8 rows between one pair and the next.

use crate::machine::lanes::LANES;

/// How the elements of A and B lie in the registers of a warp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// The rule above, for 8, 16 or (in a warpgroup) 64 rows, of which a warp has 16.
    Grouped,
    /// `m8n8k4` of f16: four separate products, each by 4 lanes of the lower and 4 of the upper half-warp.
    Quads {
        /// A by rows.
        a_rows: bool,
        /// B by rows.
        b_rows: bool,
    },
}

/// Row and column of A of the element `at` of register `register` in a lane, in grouped registers.
#[inline(always)]
pub(crate) fn a_place(
    halves: usize,
    elements: usize,
    register: usize,
    lane: usize,
    at: usize,
) -> (usize, usize) {
    let row = lane / 4 + 8 * (register % halves);
    (row, (lane % 4) * elements + at + 4 * elements * (register / halves))
}

/// The same as an index into rows of `k`.
#[inline(always)]
pub(crate) fn a_index(
    k: usize,
    halves: usize,
    elements: usize,
    register: usize,
    lane: usize,
    at: usize,
) -> usize {
    let (row, column) = a_place(halves, elements, register, lane, at);
    row * k + column
}

/// Row and column of B of the element `at` of register `register` in a lane.
#[inline(always)]
pub(crate) fn b_place(elements: usize, register: usize, lane: usize, at: usize) -> (usize, usize) {
    ((lane % 4) * elements + at + 4 * elements * register, lane / 4)
}

/// Reads C (or writes D) of 8 or 16 rows and `n` columns: calls `each` with the index into the matrix, the register
/// and the lane. `packed` says that a register holds two f16.
#[inline(always)]
pub(crate) fn each_pair(m: usize, n: usize, mut each: impl FnMut(usize, usize, usize)) {
    let halves = m / 8;
    for column in 0..n / 8 {
        for half in 0..halves {
            for lane in 0..LANES {
                let index = (lane / 4 + 8 * half) * n + column * 8 + lane % 4 * 2;
                each(index, column * halves + half, lane);
            }
        }
    }
}

/// The lanes of one of the four products of [`Layout::Quads`], lower half-warp first.
#[inline(always)]
pub(crate) fn quad_lane(quad: usize, member: usize) -> usize {
    quad * 4 + member % 4 + 16 * (member / 4)
}

/// Row and column of element `at` (of 4) of A in a member (of 8) of a quad pair.
#[inline(always)]
pub(crate) fn quad_a(by_rows: bool, member: usize, at: usize) -> (usize, usize) {
    if by_rows { (member, at) } else { (at + 4 * (member / 4), member % 4) }
}

/// Row and column of element `at` (of 4) of B in a member (of 8) of a quad pair.
#[inline(always)]
pub(crate) fn quad_b(by_rows: bool, member: usize, at: usize) -> (usize, usize) {
    if by_rows { (member % 4, at + 4 * (member / 4)) } else { (at, member) }
}

/// Row and column of element `at` (of 8) of C or D in a member (of 8) of a quad pair.
#[inline(always)]
pub(crate) fn quad_c(single: bool, member: usize, at: usize) -> (usize, usize) {
    if single {
        ((member & 1) + (at & 2) + 4 * (member / 4), (at & 4) + (member & 2) + (at & 1))
    } else {
        (member, at)
    }
}
