//! Any bytes through the parser and the machine's decoder.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    factory_ptx::fuzz::decode_any(bytes);
});
