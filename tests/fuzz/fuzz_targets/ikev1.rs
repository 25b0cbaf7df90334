#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| softwire_fuzz::run("ikev1", data));
