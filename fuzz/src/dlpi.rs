//! See `vtunl_tests::fuzz::dlpi_prims`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vtunl_tests::fuzz::dlpi_prims(data));
