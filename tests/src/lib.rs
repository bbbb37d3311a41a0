//! End-to-end tests of Kernel Factory.
