//! Binds the manager, the job and the functions that the crate `ipsec-mb` uses. The library ships no .pc file.

use std::{env, path::PathBuf};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-lib=IPSec_MB");
    let bindings = bindgen::Builder::default()
        .header_contents("wrapper.h", "#include <intel-ipsec-mb.h>\n")
        // Without LINUX `gcm_key_data` loses its alignment; the old names collide with each other.
        .clang_args(["-DLINUX", "-DNO_COMPAT_IMB_API_053"])
        .allowlist_function("alloc_mb_mgr|free_mb_mgr|init_mb_mgr_auto|imb_get_version|imb_get_errno|imb_get_strerror")
        .allowlist_type("IMB_MGR|IMB_JOB|IMB_ARCH|IMB_STATUS|IMB_CIPHER_MODE|IMB_HASH_ALG|IMB_CIPHER_DIRECTION")
        .allowlist_type("IMB_CHAIN_ORDER|gcm_key_data|gcm_context_data")
        .allowlist_var("IMB_VERSION_NUM")
        .prepend_enum_name(false)
        .generate_comments(false)
        .layout_tests(true)
        .generate();
    let bindings = match bindings {
        Ok(b) => b,
        Err(e) => fail(&format!("bindgen of intel-ipsec-mb.h (Debian: libipsec-mb-dev): {e}")),
    };
    let Some(out) = env::var_os("OUT_DIR") else { fail("OUT_DIR is not set") };
    if let Err(e) = bindings.write_to_file(PathBuf::from(out).join("bindings.rs")) {
        fail(&format!("bindings.rs: {e}"));
    }
}

fn fail(why: &str) -> ! {
    println!("cargo::error={why}");
    std::process::exit(1)
}
