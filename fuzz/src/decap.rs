//! See `vtunl_tests::fuzz::decap`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vtunl_tests::fuzz::decap(data));
