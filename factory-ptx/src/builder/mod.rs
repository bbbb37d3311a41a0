//! Writes PTX from Rust: typed registers, instructions as methods, and an [`ast::Module`](crate::ast::Module) at the end.
//!
//! A register is a [`Reg`] of a class ([`F32`], [`F64`], [`B32`], [`B64`], [`B16`], [`Pred`]), and every method takes and
//! returns handles of the classes that its instruction works on, so an operand of the wrong class does not compile:
//!
//! ```
//! use factory_ptx::builder::{Entry, F32, LoadHint, StoreHint};
//!
//! let mut entry = Entry::new("scale");
//! let x = entry.param_pointer("x");
//! let n = entry.param_b32("n");
//! let index = entry.global_thread_index();
//! let outside = entry.setp_u32("ge", index, n);
//! entry.exit_if(outside);
//! let offset = entry.mul_wide_u32(index, 4);
//! let address = entry.add_s64(x, offset);
//! let value = entry.load_global::<F32>(address, 0, LoadHint::default());
//! let scaled = entry.mul(value, 2.0f32);
//! entry.store_global(address, 0, scaled, &StoreHint::default());
//! let module = factory_ptx::builder::module((7, 8), "sm_90", [entry.finish()]);
//! assert!(module.to_string().contains("mul.f32"));
//! ```
//!
//! A handle stands for one virtual register. Results are fresh registers; what must change over time (an accumulator, a
//! loop counter) is written with [`Entry::assign`]. Handles of one [`Entry`] have no meaning in another.
//!
//! Control flow has two helpers, [`Entry::when`] (skip a part of the code when a predicate is false) and [`Entry::repeat_while`];
//! labels and branches are there for the rest. [`Entry::guarded`] puts `@p` before every instruction that a closure emits.

mod class;
mod entry;
mod float;
mod integer;
mod memory;
mod sync;

pub use class::{B16, B32, B64, Class, F32, F64, Float, Pred, Reg, Src};
pub use entry::{Entry, Label, module};
pub use memory::{LoadHint, Priority, StoreHint, Word};
