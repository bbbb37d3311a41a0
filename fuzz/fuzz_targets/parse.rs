//! Any bytes through the parser, the checker and the printer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| factory_ptx::fuzz::parse_any(bytes));
