//! Vector with oddline's components in it.

use std::process::ExitCode;

use vector::app::Application;

fn main() -> ExitCode {
    let code = Application::run(oddline_vector::extra_context()).code().unwrap_or(exitcode::UNAVAILABLE);
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}
