//! One module a subcommand. Each returns the exit status, or the error that stopped it.

pub(crate) mod check;
pub(crate) mod doctor;
pub(crate) mod evidence;
pub(crate) mod explain;
pub(crate) mod new;
pub(crate) mod profile;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod sanitize;
pub(crate) mod status;
pub(crate) mod toolchain;
pub(crate) mod tune;
pub(crate) mod verify;
pub(crate) mod watch;
