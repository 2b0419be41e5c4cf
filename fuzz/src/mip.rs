//! See `vtunl_tests::fuzz::mip`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vtunl_tests::fuzz::mip(data));
