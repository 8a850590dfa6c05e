//! Link options of the module.

fn main() {
    // Closing a Lua state unloads its modules. Threads of the engine may still run our code then, and another state
    // of the process may use it: the module stays loaded for good.
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
    println!("cargo:rerun-if-changed=build.rs");
}
