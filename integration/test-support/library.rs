//! The libraries that tests of adapters load: Cargo builds no `cdylib` for a test.

use std::path::PathBuf;
use std::process::Command;

/// The file that the environment's `variable` names, or `file` as built by the package `package`, with more `arguments`, in this test's profile.
pub(crate) fn library(variable: &str, file: &str, package: &str, arguments: &[&str]) -> PathBuf {
    std::env::var_os(variable).map_or_else(|| built(file, package, arguments), PathBuf::from)
}

fn built(file: &str, package: &str, arguments: &[&str]) -> PathBuf {
    // <target dir>/<profile dir>/deps/<this test>
    let test = std::env::current_exe().unwrap();
    let profile_dir = test.ancestors().nth(2).unwrap();
    let profile = match profile_dir.file_name().unwrap().to_str().unwrap() {
        "debug" => "dev",
        other => other,
    };
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--package", package, "--profile", profile])
        .args(arguments)
        .arg("--target-dir")
        .arg(profile_dir.parent().unwrap())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(built.unwrap().success(), "{package} does not build");
    profile_dir.join(file)
}

/// Says that a test did not run; under CI (`CI=true`) that is a failure.
pub(crate) fn skipped(why: &str) {
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{why}");
    eprintln!("SKIPPED: {why}");
}
