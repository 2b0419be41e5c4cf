//! `mipagent`: see the library.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    mipagent::cli::main()
}
