//! See `vtunl_tests::fuzz::udp`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vtunl_tests::fuzz::udp(data));
