//! Part of Kernel Factory.
