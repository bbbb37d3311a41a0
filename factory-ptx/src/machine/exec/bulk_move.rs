//! What asynchronous copies do when their time has come: bytes that move, are filled in, or are combined with those at
//! the destination.

use super::atomic::{apply, update};
use super::pending::{Action, Place, Span};
use super::state::Warp;
use super::{Trouble, Worker};
use crate::machine::inst::bulk::Reduction;
use crate::machine::inst::{AtomicOp, AtomicType};
use crate::machine::tensor_map::{OutOfBounds, TensorMapType};

/// Bytes moved at once.
const BUFFER: usize = 512;

/// A run of bytes to write; without a source it is filled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) from: Option<Span>,
    pub(super) to: Span,
}

/// A copy in flight.
pub(super) struct Move {
    parts: Vec<Part>,
    reduction: Option<Reduction>,
    /// What stands for elements outside a tensor, repeated.
    fill: [u8; 8],
    /// Round f32 to tf32 on the way.
    round: bool,
}

impl Move {
    pub(super) fn new(parts: Vec<Part>, reduction: Option<Reduction>) -> Move {
        Move { parts, reduction, fill: [0; 8], round: false }
    }

    /// A load of elements of this type, and this for those outside. Only tf32 changes elements on their way: the types
    /// that flush subnormals do so in reductions alone, as on an H200.
    pub(super) fn load(parts: Vec<Part>, ty: TensorMapType, fill: OutOfBounds) -> Move {
        let fill = if fill == OutOfBounds::Nan { NAN_FILL.to_le_bytes() } else { [0; 8] };
        let round = matches!(ty, TensorMapType::TF32 | TensorMapType::TF32Ftz);
        Move { parts, reduction: None, fill, round }
    }
}

/// What an H200 fills elements outside with, whatever their type: a NaN of each.
const NAN_FILL: u64 = 0x7ff7_7ff7_7ff7_7ff7;

/// An f32 rounded to tf32: to nearest, ties to even, NaNs alike (as an H200 does).
fn rounded_to_tf32(bits: u32) -> u32 {
    if bits & 0x7fff_ffff > 0x7f80_0000 {
        return 0x7fff_e000;
    }
    (bits + 0xfff + (bits >> 13 & 1)) & !0x1fff
}

/// The new value at the destination of a reduction.
///
/// The sum of f64 hands on the bits of a NaN as they are, and gives a negative NaN for infinities of both signs, as an
/// H200 does.
pub(super) fn combined(reduction: Reduction, old: u64, new: u64) -> u64 {
    match (reduction.op, reduction.ty) {
        (AtomicOp::Add, AtomicType::F64) => {
            let (a, b) = (f64::from_bits(old), f64::from_bits(new));
            match (a.is_nan(), b.is_nan()) {
                (true, _) => old,
                (_, true) => new,
                _ if (a + b).is_nan() => 0xfff8_0000_0000_0000,
                _ => (a + b).to_bits(),
            }
        }
        (AtomicOp::Add, AtomicType::F32) if reduction.flush => {
            let flushed = |bits: u64| if bits & 0x7f80_0000 == 0 { bits & 0x8000_0000 } else { bits };
            flushed(apply(reduction.op, reduction.ty, flushed(old), flushed(new), 0))
        }
        _ => apply(reduction.op, reduction.ty, old, new, 0),
    }
}

impl Action for Move {
    fn run(&mut self, worker: &mut Worker<'_>, _warp: &mut Warp) -> Result<(), Trouble> {
        let mut buffer = [0u8; BUFFER];
        for part in &self.parts {
            for start in (0..part.to.len).step_by(BUFFER) {
                let len = BUFFER.min(part.to.len - start);
                let piece = |span: Span| Span { start: span.start + start, len, ..span };
                let bytes = &mut buffer[..len];
                match part.from {
                    Some(from) => worker.span_read(&piece(from), bytes),
                    None => bytes.iter_mut().zip(self.fill.iter().cycle()).for_each(|(to, from)| *to = *from),
                }
                if self.round && part.from.is_some() {
                    for word in bytes.as_chunks_mut::<4>().0 {
                        *word = rounded_to_tf32(u32::from_le_bytes(*word)).to_le_bytes();
                    }
                }
                match self.reduction {
                    None => worker.span_write(&piece(part.to), bytes),
                    Some(reduction) => reduce(worker, &piece(part.to), reduction, bytes),
                }
            }
        }
        Ok(())
    }
}

/// Combines elements with those of a span.
pub(super) fn reduce(worker: &Worker<'_>, span: &Span, reduction: Reduction, bytes: &[u8]) {
    let size = usize::from(reduction.ty.size());
    let (data, _, writable) = worker.span_pointers(span);
    if !writable {
        return;
    }
    for (index, element) in bytes[..bytes.len().min(span.len)].chunks_exact(size).enumerate() {
        let mut wide = [0; 8];
        wide[..size].copy_from_slice(element);
        let value = u64::from_le_bytes(wide);
        // SAFETY: `span` has found the bytes to lie inside their memory, and elements lie at multiples of their size.
        update(unsafe { data.add(index * size) }, size, |old| combined(reduction, old, value));
    }
}

/// A value that a thread sent: `st.async` and `red.async`.
pub(super) struct Send {
    pub(super) to: Span,
    pub(super) bytes: Vec<u8>,
    pub(super) reduction: Option<Reduction>,
}

impl Action for Send {
    fn run(&mut self, worker: &mut Worker<'_>, _warp: &mut Warp) -> Result<(), Trouble> {
        match self.reduction {
            None => worker.span_write(&self.to, &self.bytes),
            Some(reduction) => reduce(worker, &self.to, reduction, &self.bytes),
        }
        Ok(())
    }
}

/// The type that a reduction over a tensor map's elements works on; `None` where the operation has no meaning for them.
pub(super) fn reduction_type(ty: TensorMapType) -> Option<AtomicType> {
    Some(match ty {
        TensorMapType::U32 => AtomicType::U32,
        TensorMapType::S32 => AtomicType::S32,
        TensorMapType::U64 => AtomicType::U64,
        TensorMapType::S64 => AtomicType::S64,
        TensorMapType::F16 => AtomicType::F16,
        TensorMapType::BF16 => AtomicType::BF16,
        TensorMapType::F32 | TensorMapType::F32Ftz | TensorMapType::TF32 | TensorMapType::TF32Ftz => {
            AtomicType::F32
        }
        TensorMapType::F64 => AtomicType::F64,
        _ => return None,
    })
}

/// Whether a span lies in the shared memory of this block.
pub(super) fn lies_in(span: &Span, block: usize) -> bool {
    span.place == Place::Shared(block)
}
