//! The log of a search: what its observer heard, a JSON object a line, for whoever looks on or comes later.
//!
//! [`EventLog`] is an [`Observer`](crate::Observer) that writes, [`LogReader`] reads while somebody writes and after the
//! writer was killed, [`newest`] finds a folder's latest log. The lines are [`LogLine`]s: strings and numbers, so that a
//! log of another version can be read as far as it is understood.
//!
//! A log costs a search nothing that matters: when it cannot be written (a full disk), the search goes on, and
//! [`EventLog::trouble`] says so at its end.

mod event;
mod read;
mod write;

pub use event::{LogCandidate, LogEvent, LogLine, LogOutcome, LogStart};
pub use read::{LogRead, LogReader, logs, newest};
pub use write::{EventLog, FORMAT, KEPT};
