//! The `oddline` command.

fn main() {}
