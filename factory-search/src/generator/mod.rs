//! Writes candidates from a reference program.
