//! Any bytes through the machine, with a small budget.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    factory_ptx::fuzz::run_any(bytes);
});
