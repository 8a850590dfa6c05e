//! The `oddline` command: see [`cli`] for what it is made of.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
