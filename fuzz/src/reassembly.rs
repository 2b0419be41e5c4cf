//! See `vtunl_tests::fuzz::reassembly`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vtunl_tests::fuzz::reassembly(data));
