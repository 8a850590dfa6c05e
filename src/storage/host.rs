//! The name of this machine: what baselines and journals call their origin.

use std::fs;

/// Where the kernel says it.
const FILES: [&str; 2] = ["/proc/sys/kernel/hostname", "/etc/hostname"];

/// Variables that say it where there is no such file.
const VARIABLES: [&str; 2] = ["HOSTNAME", "COMPUTERNAME"];

/// The machine's name; `localhost` where nobody says.
pub fn host_name() -> String {
    let files = FILES.iter().filter_map(|path| fs::read_to_string(path).ok());
    let variables = VARIABLES.iter().filter_map(|name| std::env::var(name).ok());
    let names = files.chain(variables).map(|name| name.trim().to_owned());
    names.into_iter().find(|name| !name.is_empty()).unwrap_or_else(|| "localhost".to_owned())
}
