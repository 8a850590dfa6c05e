//! `oddline install` and `oddline uninstall`, from a release made up here into a root made up here.
#![allow(clippy::unwrap_used, clippy::panic)]

mod cli_support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Output;

use cli_support::{failed, json, ok, path, run, stderr};
use oddline::plugin::manifest::Manifest;
use serde_json::Value;

const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");
const MANIFESTS: &str = "share/oddline/plugin-manifests";
const LUA: &str = "usr/lib/oddline/oddline.lua";

/// A release and a root to install it into.
struct Place {
    dir: tempfile::TempDir,
}

fn write(file: &Path, text: &str) {
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
}

impl Place {
    fn new() -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap() };
        for name in ["vector-lua", "vector-sidecar", "vector-native"] {
            let text = fs::read_to_string(format!("{REPOSITORY}/plugin-manifests/{name}.yaml")).unwrap();
            place.add(name, &text);
        }
        // The same program for another agent.
        let text = fs::read_to_string(place.manifest("vector-sidecar")).unwrap();
        let text = text.replace("name: vector-sidecar", "name: bit").replace("name: vector\n", "name: fluent-bit\n");
        place.add("bit", &text);
        fs::create_dir(place.root()).unwrap();
        place
    }

    /// Adds a manifest and what it names.
    fn add(&self, name: &str, text: &str) {
        write(&self.manifest(name), text);
        let manifest = Manifest::parse(name, text).unwrap();
        let Some(dir) = manifest.artefact.kind.install_dir() else { return };
        for file in &manifest.artefact.files {
            write(&self.release().join(dir).join(file), &format!("{file} 1"));
        }
        for file in &manifest.artefact.systemd {
            write(&self.release().join("lib").join(file), "[Service]\n");
        }
        for example in &manifest.config.examples {
            let target = example.strip_prefix("config-examples").unwrap();
            let text = fs::read_to_string(Path::new(REPOSITORY).join(example)).unwrap();
            write(&self.release().join(format!("share/doc/oddline/examples{target}")), &text);
        }
    }

    fn release(&self) -> PathBuf {
        self.dir.path().join("release")
    }

    fn manifest(&self, name: &str) -> PathBuf {
        self.release().join(MANIFESTS).join(format!("{name}.yaml"))
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn install(&self, agent: &str, more: &[&str]) -> Output {
        let (release, root) = (self.release(), self.root());
        run(&[&["install", "--agent", agent, "--from", path(&release), "--root", path(&root)], more].concat(), "")
    }

    fn uninstall(&self, agent: &str, more: &[&str]) -> Output {
        run(&[&["uninstall", "--agent", agent, "--root", path(&self.root())], more].concat(), "")
    }

    /// Every file below the root with its bytes, every directory with none.
    fn contents(&self) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
        let (mut found, mut pending) = (BTreeMap::new(), vec![self.root()]);
        while let Some(dir) = pending.pop() {
            for path in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
                let bytes = path.is_file().then(|| fs::read(&path).unwrap());
                if path.is_dir() {
                    pending.push(path.clone());
                }
                found.insert(path.strip_prefix(self.root()).unwrap().to_owned(), bytes);
            }
        }
        found
    }
}

fn actions(output: &Output) -> Vec<String> {
    let report = json(ok(output));
    report["steps"].as_array().unwrap().iter().map(|step| step["action"].as_str().unwrap().to_owned()).collect()
}

fn receipt(place: &Place) -> Value {
    json(&fs::read_to_string(place.root().join("usr/lib/oddline/receipt.json")).unwrap())
}

#[test]
fn what_is_installed_is_there_and_uninstall_leaves_what_was_there_before() {
    let place = Place::new();
    write(&place.root().join("etc/vector/vector.yaml"), "sources: {}\n");
    fs::create_dir_all(place.root().join("usr/lib")).unwrap();
    let before = place.contents();
    let output = place.install("vector", &[]);
    let said = ok(&output);
    for expected in
        ["put: /usr/bin/oddline", "put: /usr/lib/systemd/system/oddline.service", "type: lua", "[sinks.to_oddline]"]
    {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert_eq!(fs::read_to_string(place.root().join(LUA)).unwrap(), "oddline.lua 1");
    let mode = |file: &str| fs::metadata(place.root().join(file)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("usr/bin/oddline"), mode(LUA)), (0o755, 0o644));
    assert_eq!(place.contents()[Path::new("etc/vector/vector.yaml")], before[Path::new("etc/vector/vector.yaml")]);
    assert!(ok(&place.uninstall("vector", &[])).contains("removed: /usr/bin/oddline"));
    assert_eq!(place.contents(), before);
}

#[test]
fn a_dry_run_tells_the_same_and_changes_nothing() {
    let place = Place::new();
    let told = actions(&place.install("vector", &["--dry-run", "--format", "json"]));
    assert!(place.contents().is_empty());
    let done = actions(&place.install("vector", &["--format", "json"]));
    assert_eq!(told, done);
    assert!(told.iter().all(|action| action == "put"), "{told:?}");
    let installed = place.contents();
    assert!(
        actions(&place.uninstall("vector", &["--dry-run", "--format", "json"])).iter().all(|action| action == "remove")
    );
    assert_eq!(place.contents(), installed);
}

#[test]
fn a_second_run_changes_nothing_and_a_newer_release_replaces_what_is_ours() {
    let place = Place::new();
    ok(&place.install("vector", &[]));
    let first = place.contents();
    let again = json(ok(&place.install("vector", &["--format", "json"])));
    assert_eq!(again["changed"], false);
    assert_eq!(place.contents(), first);
    write(&place.release().join("lib/oddline/oddline.lua"), "oddline.lua 2");
    let newer = actions(&place.install("vector", &["--format", "json"]));
    assert_eq!(newer.iter().filter(|action| *action == "replace").count(), 1);
    assert_eq!(fs::read_to_string(place.root().join(LUA)).unwrap(), "oddline.lua 2");
    assert_eq!(receipt(&place)["files"][LUA]["sha256"].as_array().unwrap().len(), 1);
    ok(&place.uninstall("vector", &[]));
    assert!(place.contents().is_empty(), "{:?}", place.contents().keys());
}

#[test]
fn a_file_that_was_changed_is_neither_overwritten_nor_removed_and_is_named() {
    let place = Place::new();
    ok(&place.install("vector", &[]));
    write(&place.root().join(LUA), "mine now");
    write(&place.release().join("lib/oddline/oddline.lua"), "oddline.lua 2");
    let before = place.contents();
    let refused = place.install("vector", &[]);
    let said = failed(&refused, 1);
    assert!(said.contains("oddline.lua (changed since it was installed). With --changed keep"), "{said}");
    assert_eq!(place.contents(), before);
    let output = place.uninstall("vector", &[]);
    assert!(ok(&output).contains(&format!("kept, changed since: /{LUA}")));
    assert!(stderr(&output).contains(LUA));
    let left = place.contents();
    let files: Vec<_> = left.iter().filter(|(_, bytes)| bytes.is_some()).collect();
    assert_eq!(files, [(&PathBuf::from(LUA), &Some(b"mine now".to_vec()))]);
}

const NEW: &str = "usr/lib/oddline/oddline.lua.oddline-new";
const OLD: &str = "usr/lib/oddline/oddline.lua.oddline-old";

/// A release is installed, one of its files changed, and there is a newer release.
fn changed() -> Place {
    let place = Place::new();
    ok(&place.install("vector", &[]));
    write(&place.root().join(LUA), "mine now");
    write(&place.release().join("lib/oddline/oddline.lua"), "oddline.lua 2");
    write(&place.release().join("bin/oddline"), "oddline 2");
    place
}

fn text(place: &Place, file: &str) -> Option<String> {
    fs::read_to_string(place.root().join(file)).ok()
}

#[test]
fn an_upgrade_can_keep_a_file_that_was_changed_with_the_new_one_beside_it() {
    let place = changed();
    let said = ok(&place.install("vector", &["--changed", "keep"])).to_owned();
    assert!(said.contains(&format!("kept, changed since: /{LUA}\nput: /{NEW}\n")), "{said}");
    assert_eq!(text(&place, LUA).as_deref(), Some("mine now"));
    assert_eq!(text(&place, NEW).as_deref(), Some("oddline.lua 2"));
    assert_eq!(text(&place, "usr/bin/oddline").as_deref(), Some("oddline 2"), "the rest is upgraded");
    let again = json(ok(&place.install("vector", &["--changed", "keep", "--format", "json"])));
    assert_eq!(again["changed"], false);
    failed(&place.install("vector", &[]), 1);
    // A newer one replaces the one beside it, unless that was changed as well.
    write(&place.release().join("lib/oddline/oddline.lua"), "oddline.lua 3");
    ok(&place.install("vector", &["--changed", "keep"]));
    assert_eq!(text(&place, NEW).as_deref(), Some("oddline.lua 3"));
    write(&place.root().join(NEW), "mine, too");
    write(&place.release().join("lib/oddline/oddline.lua"), "oddline.lua 4");
    let refused = place.install("vector", &["--changed", "keep"]);
    assert!(failed(&refused, 1).contains("oddline.lua (NAME.oddline-new was changed, too)"));
    // Taken over by hand, it is ours as before.
    fs::rename(place.root().join(NEW), place.root().join(LUA)).unwrap();
    write(&place.root().join(LUA), "oddline.lua 4");
    ok(&place.install("vector", &[]));
    ok(&place.uninstall("vector", &[]));
    assert!(place.contents().is_empty(), "{:?}", place.contents().keys());
}

#[test]
fn an_upgrade_can_replace_a_file_that_was_changed_and_keeps_the_users_beside_it_for_good() {
    let place = changed();
    let said = ok(&place.install("vector", &["--changed", "replace"])).to_owned();
    assert!(said.contains(&format!("replaced, yours beside it as NAME.oddline-old: /{LUA}\n")), "{said}");
    assert_eq!(text(&place, LUA).as_deref(), Some("oddline.lua 2"));
    assert_eq!(text(&place, OLD).as_deref(), Some("mine now"));
    assert_eq!(json(ok(&place.install("vector", &["--format", "json"])))["changed"], false);
    // What is kept there is not written over by another one.
    write(&place.root().join(LUA), "mine again");
    write(&place.release().join("lib/oddline/oddline.lua"), "oddline.lua 3");
    let refused = place.install("vector", &["--changed", "replace"]);
    assert!(failed(&refused, 1).contains("oddline.lua (NAME.oddline-old is there already)"));
    // Unless it is the same: a run that was cut off got so far.
    write(&place.root().join(OLD), "mine again");
    ok(&place.install("vector", &["--changed", "replace"]));
    assert_eq!(text(&place, LUA).as_deref(), Some("oddline.lua 3"));
    ok(&place.uninstall("vector", &[]));
    let left = place.contents();
    let files: Vec<_> = left.iter().filter(|(_, bytes)| bytes.is_some()).collect();
    assert_eq!(files, [(&PathBuf::from(OLD), &Some(b"mine again".to_vec()))]);
}

#[test]
fn a_dry_run_says_what_would_be_done_and_not_that_it_was() {
    let place = Place::new();
    let said = ok(&place.install("vector", &["--dry-run"])).to_owned();
    assert!(said.contains(&format!("would put: /{LUA}\n")) && !said.contains("\nput: "), "{said}");
    assert_eq!(json(ok(&place.install("vector", &["--dry-run", "--format", "json"])))["dry_run"], true);
    assert_eq!(json(ok(&place.install("vector", &["--format", "json"])))["dry_run"], false);
    let place = changed();
    for (how, told) in [("keep", "would keep, changed since: /"), ("replace", "would replace, yours beside it")] {
        let before = place.contents();
        let said = ok(&place.install("vector", &["--dry-run", "--changed", how])).to_owned();
        assert!(said.contains(told) && said.contains("would replace: /usr/bin/oddline"), "{said}");
        assert_eq!(place.contents(), before);
    }
    let said = ok(&place.uninstall("vector", &["--dry-run"])).to_owned();
    assert!(said.contains("would remove: /usr/bin/oddline"), "{said}");
    assert!(said.contains(&format!("would keep, changed since: /{LUA}")), "{said}");
}

#[test]
fn what_is_in_the_way_ends_it_before_anything_is_written() {
    let place = Place::new();
    write(&place.root().join("usr/bin/oddline"), "somebody else's");
    fs::create_dir_all(place.root().join(LUA)).unwrap();
    let before = place.contents();
    let refused = place.install("vector", &[]);
    let said = failed(&refused, 1);
    assert!(said.contains("usr/bin/oddline (another file)") && said.contains("oddline.lua (no file)"), "{said}");
    assert_eq!(place.contents(), before);
    failed(&place.uninstall("vector", &[]), 1);
}

#[test]
fn what_somebody_else_put_there_stays_theirs() {
    let place = Place::new();
    write(&place.root().join("usr/bin/oddline"), "oddline 1");
    assert!(ok(&place.install("vector", &[])).contains("already there: /usr/bin/oddline"));
    ok(&place.uninstall("vector", &[]));
    assert_eq!(fs::read_to_string(place.root().join("usr/bin/oddline")).unwrap(), "oddline 1");
}

#[test]
fn what_systemd_has_to_be_told_is_printed_and_nothing_where_it_got_nothing() {
    let place = Place::new();
    let told = place.install("vector", &["--plugin", "vector-sidecar", "--dry-run"]);
    assert!(ok(&told).contains("systemctl daemon-reload\nsystemctl enable --now oddline.service\n"), "{}", ok(&told));
    assert!(!ok(&place.install("vector", &["--plugin", "vector-lua"])).contains("systemctl"));
}

#[test]
fn what_a_package_has_by_now_stays_also_when_it_is_the_same() {
    let place = Place::new();
    ok(&place.install("vector", &["--plugin", "vector-sidecar"]));
    let list = "/.\n/usr\n/usr/bin\n/usr/bin/oddline\n/usr/share/doc/caf\u{e9}\n";
    write(&place.root().join("var/lib/dpkg/info/oddline.list"), list);
    write(&place.root().join("var/lib/dpkg/info/oddline.md5sums"), "/usr/lib/systemd/system/oddline.service\n");
    let told = place.uninstall("vector", &["--dry-run"]);
    let output = place.uninstall("vector", &[]);
    assert_eq!(ok(&output), ok(&told).replace("would keep", "kept").replace("would remove", "removed"));
    assert!(ok(&output).contains("kept, a package has it: /usr/bin/oddline\n"), "{}", ok(&output));
    assert!(ok(&output).contains("removed: /usr/lib/systemd/system/oddline.service\n"), "{}", ok(&output));
    assert_eq!(fs::read_to_string(place.root().join("usr/bin/oddline")).unwrap(), "oddline 1");
    assert!(!place.root().join("usr/lib").exists(), "the receipt names nothing any more");
    assert!(failed(&place.uninstall("vector", &[]), 1).contains("nothing is installed for vector"));
}

/// Runs the command on a system that has packages of rpm, with an rpm that says what `says`, a shell script, does.
fn with_rpm(place: &Place, says: &str, args: &[&str]) -> Output {
    write(&place.root().join("usr/lib/sysimage/rpm/rpmdb.sqlite"), "");
    let rpm = place.dir.path().join("bin/rpm");
    let root = place.root().canonicalize().unwrap();
    let asked = format!("--root {} --dbpath /usr/lib/sysimage/rpm --query --all --list", root.display());
    write(&rpm, &format!("#!/bin/sh\n[ \"$*\" = \"{asked}\" ] || {{ echo \"asked for $*\" >&2; exit 2; }}\n{says}\n"));
    fs::set_permissions(&rpm, fs::Permissions::from_mode(0o755)).unwrap();
    let search = format!("{}:{}", rpm.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let root = place.root();
    cli_support::oddline(&[args, &["--root", path(&root)]].concat()).env("PATH", search).output().unwrap()
}

#[test]
fn what_a_package_of_rpm_has_by_now_stays_too() {
    let place = Place::new();
    ok(&place.install("vector", &["--plugin", "vector-sidecar"]));
    let uninstall = ["uninstall", "--agent", "vector"];
    let before = place.contents().len();
    // Not knowing is no reason to remove anything.
    let refused = with_rpm(&place, "echo 'error: cannot open Packages database' >&2; exit 1", &uninstall);
    assert!(failed(&refused, 1).contains("cannot open Packages database"), "{}", stderr(&refused));
    assert_eq!(place.contents().len(), before + 3, "the database is there now");
    let says = "echo '(contains no files)'; echo /usr/bin/oddline";
    let output = with_rpm(&place, says, &uninstall);
    assert!(ok(&output).contains("kept, a package has it: /usr/bin/oddline\n"), "{}", ok(&output));
    assert!(ok(&output).contains("removed: /usr/lib/systemd/system/oddline.service\n"), "{}", ok(&output));
    write(&place.release().join("bin/oddline"), "oddline 2");
    let release = place.release();
    let install = ["install", "--agent", "vector", "--from", path(&release)];
    let said = with_rpm(&place, says, &install);
    assert!(failed(&said, 1).contains("upgrade or remove that package"));
}

#[test]
fn a_newer_release_does_not_replace_what_a_package_has_by_now() {
    let place = Place::new();
    ok(&place.install("vector", &[]));
    write(&place.root().join("var/lib/dpkg/info/oddline.list"), &format!("/usr/bin/oddline\n/{LUA}\n"));
    let again = place.install("vector", &["--format", "json"]);
    assert_eq!(json(ok(&again))["changed"], false, "what is the same is in nobody's way");
    write(&place.release().join("bin/oddline"), "oddline 2");
    let before = place.contents();
    for more in [&["--dry-run"][..], &[]] {
        let refused = place.install("vector", more);
        let said = failed(&refused, 1);
        assert!(said.contains("usr/bin/oddline (a package of the system has it"), "{said}");
        assert!(!said.contains("oddline.lua"), "only what would be replaced: {said}");
    }
    assert_eq!(place.contents(), before);
    fs::remove_file(place.root().join("var/lib/dpkg/info/oddline.list")).unwrap();
    assert!(ok(&place.install("vector", &[])).contains("replaced: /usr/bin/oddline\n"), "ours again");
}

#[test]
fn a_list_of_a_package_that_cannot_be_read_changes_nothing() {
    let place = Place::new();
    ok(&place.install("vector", &[]));
    fs::create_dir_all(place.root().join("var/lib/dpkg/info/odd.list")).unwrap();
    write(&place.release().join("bin/oddline"), "oddline 2");
    let before = place.contents();
    assert!(failed(&place.uninstall("vector", &[]), 1).contains("odd.list"));
    assert!(failed(&place.install("vector", &[]), 1).contains("odd.list"));
    assert_eq!(place.contents(), before);
}

#[test]
fn what_two_agents_need_goes_with_the_last_of_them() {
    let place = Place::new();
    ok(&place.install("vector", &["--plugin", "vector-sidecar"]));
    assert!(!place.root().join(LUA).exists());
    ok(&place.install("fluent-bit", &[]));
    assert!(ok(&place.uninstall("vector", &[])).contains("kept for another agent: /usr/bin/oddline"));
    assert!(place.root().join("usr/bin/oddline").exists());
    assert!(failed(&place.uninstall("vector", &[]), 1).contains("nothing is installed for vector"));
    ok(&place.uninstall("fluent-bit", &[]));
    assert!(place.contents().is_empty());
}

#[test]
fn everything_that_is_missing_is_named() {
    let place = Place::new();
    fs::remove_file(place.release().join("lib/oddline/oddline_native.so")).unwrap();
    fs::remove_file(place.release().join("lib/systemd/system/oddline.service")).unwrap();
    let refused = place.install("vector", &[]);
    let said = failed(&refused, 1);
    for expected in ["lib/oddline/oddline_native.so (vector-lua)", "system/oddline.service (vector-sidecar)"] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert!(place.contents().is_empty());
}

#[test]
fn a_release_that_is_none_or_lacks_a_way_says_what_it_has() {
    let place = Place::new();
    let missing = place.dir.path().join("nowhere");
    let refused = run(&["install", "--agent", "vector", "--from", path(&missing)], "");
    assert!(failed(&refused, 1).contains("expected the manifests of a release in"));
    assert!(
        failed(&place.install("vector", &["--plugin", "bit"]), 1).contains("vector-lua, vector-native, vector-sidecar")
    );
    assert!(
        failed(&place.install("vector", &["--plugin", "vector-native"]), 1)
            .contains("a crate that vector is built with")
    );
    failed(&place.install("nginx", &[]), 2);
    fs::remove_dir(place.root()).unwrap();
    assert!(failed(&place.install("vector", &[]), 1).contains("root"));
}

#[test]
fn a_file_that_is_not_the_one_of_its_manifest_is_refused() {
    let place = Place::new();
    let text = fs::read_to_string(place.manifest("vector-lua")).unwrap();
    let sums = |sum: &str| text.replace("sha256: {}", &format!("sha256: {{oddline.lua: {sum}}}"));
    write(&place.manifest("vector-lua"), &sums(&"0".repeat(64)));
    let refused = place.install("vector", &[]);
    assert!(failed(&refused, 1).contains("the release is damaged"));
    // printf 'oddline.lua 1' | sha256sum
    write(&place.manifest("vector-lua"), &sums("bb70e7c2d55024a0d628d7765941c57a52f68df342e11451600d3055b50abf79"));
    ok(&place.install("vector", &[]));
}

#[test]
fn links_are_not_followed_out_of_the_root() {
    let place = Place::new();
    let outside = place.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    symlink(&outside, place.root().join("usr")).unwrap();
    assert!(failed(&place.install("vector", &[]), 1).contains("leads out of"));
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    fs::remove_file(place.root().join("usr")).unwrap();
    // A link inside is a way like any other: /lib and /usr/lib are one on many systems.
    fs::create_dir_all(place.root().join("real")).unwrap();
    symlink("real", place.root().join("usr")).unwrap();
    ok(&place.install("vector", &[]));
    ok(&place.uninstall("vector", &[]));
}

#[test]
fn two_names_of_one_library_are_one_file_also_where_a_package_has_them_as_a_link() {
    let place = Place::new();
    for name in ["fluent-bit-filter", "fluent-bit-output"] {
        place.add(name, &fs::read_to_string(format!("{REPOSITORY}/plugin-manifests/{name}.yaml")).unwrap());
    }
    let names = ["flb-filter_oddline.so", "out_oddline.so"];
    let installed = names.map(|name| place.root().join("usr/lib/oddline").join(name));
    let inode = |path: &PathBuf| fs::metadata(path).unwrap().ino();
    for version in ["1", "2"] {
        names.iter().for_each(|name| write(&place.release().join("lib/oddline").join(name), version));
        ok(&place.install("fluent-bit", &[]));
        assert_eq!(installed.each_ref().map(|path| fs::read_to_string(path).unwrap()), [version, version]);
        assert_eq!(inode(&installed[0]), inode(&installed[1]));
    }
    ok(&place.uninstall("fluent-bit", &[]));
    assert!(place.contents().is_empty(), "{:?}", place.contents().keys());
    write(&installed[0], "2");
    symlink(names[0], &installed[1]).unwrap();
    let steps = json(ok(&place.install("fluent-bit", &["--format", "json"])))["steps"].clone();
    let action = |name: &str| {
        steps.as_array().unwrap().iter().find(|step| step["path"].as_str().unwrap().ends_with(name)).unwrap()["action"]
            .clone()
    };
    assert_eq!(names.map(action), ["foreign", "foreign"]);
    ok(&place.uninstall("fluent-bit", &[]));
    assert!(installed.iter().all(|path| path.is_file()));
    fs::remove_file(&installed[1]).unwrap();
    symlink("../../../elsewhere", &installed[1]).unwrap();
    assert!(failed(&place.install("fluent-bit", &[]), 1).contains("out_oddline.so (no file)"));
}

#[test]
fn a_receipt_that_was_tampered_with_removes_nothing() {
    let place = Place::new();
    ok(&place.install("vector", &[]));
    let file = place.root().join("usr/lib/oddline/receipt.json");
    let good = fs::read_to_string(&file).unwrap();
    let installed = place.contents().len();
    for (from, to, expected) in [
        ("usr/lib/oddline/oddline.lua", "../victim", "below the root"),
        ("usr/lib/oddline/oddline.lua", "/etc/passwd", "below the root"),
        ("\"schema\": 1", "\"schema\": 2", "expected 1, found 2"),
        ("\"dirs\"", "\"directories\"", "directories"),
        ("{", "", "receipt.json"),
    ] {
        assert!(good.contains(from), "{from}");
        fs::write(&file, good.replacen(from, to, 1)).unwrap();
        let refused = place.uninstall("vector", &[]);
        assert!(failed(&refused, 1).contains(expected), "{to}: {}", stderr(&refused));
        assert_eq!(place.contents().len(), installed);
    }
}

#[test]
fn an_installation_that_was_cut_off_is_ended_by_the_next_run_or_by_uninstall() {
    let place = Place::new();
    ok(&place.install("vector", &[]));
    // Cut off while it was replaced: the receipt has both sums, the file is the old one; another is not there yet.
    let file = place.root().join("usr/lib/oddline/receipt.json");
    let old = receipt(&place)["files"][LUA]["sha256"][0].as_str().unwrap().to_owned();
    let both = format!("\"{old}\",\"{}\"", "f".repeat(64));
    fs::write(&file, fs::read_to_string(&file).unwrap().replace(&format!("\"{old}\""), &both)).unwrap();
    fs::remove_file(place.root().join("usr/bin/oddline")).unwrap();
    let again = actions(&place.install("vector", &["--format", "json"]));
    assert_eq!(again.iter().filter(|action| *action == "put").count(), 1);
    assert_eq!(receipt(&place)["files"][LUA]["sha256"].as_array().unwrap().len(), 1);
    fs::remove_file(place.root().join("usr/bin/oddline")).unwrap();
    assert!(ok(&place.uninstall("vector", &[])).contains("already gone: /usr/bin/oddline"));
    assert!(place.contents().is_empty());
}

#[test]
fn the_stanza_of_each_manifest_is_a_part_of_its_first_example() {
    let mut seen = 0;
    for entry in fs::read_dir(format!("{REPOSITORY}/plugin-manifests")).unwrap() {
        let file = entry.unwrap().path();
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let manifest = Manifest::parse(&name, &fs::read_to_string(&file).unwrap()).unwrap();
        let Some(stanza) = &manifest.config.stanza else { continue };
        seen += 1;
        let example = fs::read_to_string(Path::new(REPOSITORY).join(&manifest.config.examples[0])).unwrap();
        // Blocks of the stanza, each as it stands there.
        for block in stanza.trim_end().split("\n\n") {
            assert!(example.contains(block), "{name}: {block}");
        }
    }
    assert!(seen >= 2);
}
