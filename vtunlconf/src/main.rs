//! `vtunlconf`: see the library.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    vtunlconf::cli::main()
}
