//! Link options of the library.

fn main() {
    // A hot reload closes the library and opens it again, while threads of the engine may still run our code: it stays
    // loaded for good.
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
    println!("cargo:rerun-if-changed=build.rs");
}
