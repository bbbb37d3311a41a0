//! The typed builder.
