//! The PTX machine.
