//! What a search learns, while it runs and from searches before it.
//!
//! A [`Task`] is a spec at some sizes, told in numbers that compare with those of other specs. A [`View`] is a candidate as
//! it looks before it is timed: its tunables, what the PTX machine counted, the cost model's time and its parts. Both
//! together with a time are an [`Experience`].
//!
//! A [`Strategy`] says what to measure next among the candidates of one task:
//!
//! 1. Winners of the nearest tasks come first, where this one has a configuration like theirs ([`nearest`]), in turn with
//!    what the prediction says.
//! 2. Everything else is ordered by the cost model, corrected twice by an ensemble of regression trees: once by what the
//!    model got wrong on other tasks, once by what it got wrong here so far.
//! 3. Most of a batch follows the ensemble (expected improvement, and Thompson sampling over its members), a part goes
//!    to the best of each *island* (candidates with the same structure, such as clusters or stages), and a fixed part is
//!    spread over the whole ranking, so that a wrong model is found out.
//! 4. It ends when nothing is expected to be better, see [`Strategy::expected_gain`].
//!
//! Everything is deterministic: the same experiences, views, answers and seed give the same questions. [`Memory`] is where
//! experiences are kept; [`replay`] runs a strategy on recorded times, without a GPU.

mod ensemble;
mod experience;
mod features;
mod islands;
mod memory;
mod nearness;
mod random;
mod recorded;
pub mod replay;
mod strategy;
mod task;

pub use ensemble::Ensemble;
pub use experience::{Experience, View};
pub use islands::island;
pub(crate) use islands::offspring;
pub use memory::{Known, Memory, Notebook, NotebookError, Outcome};
pub(crate) use nearness::some_nearest;
pub use nearness::{distance, nearest, warm_start};
pub(crate) use random::Random;
pub use recorded::Recorded;
pub use strategy::{Contribution, Strategy};
pub use task::Task;
