//! The binary: everything is in the library, beginning with [`headwater::cli`].

fn main() -> std::process::ExitCode {
    headwater::cli::main()
}
