//! The command `tooz`. See `tooz --help`.

#[cfg(not(unix))]
compile_error!("the command tooz supervises process groups and needs a Unix system");

#[cfg(unix)]
mod command;

#[cfg(unix)]
fn main() -> std::process::ExitCode {
    command::run()
}
