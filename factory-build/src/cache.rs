//! The user's cache of sealed kernels.
