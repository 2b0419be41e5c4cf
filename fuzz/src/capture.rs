//! See `vtunl_tests::fuzz::capture`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vtunl_tests::fuzz::capture(data));
