use std::process::ExitCode;

fn main() -> ExitCode {
    wgseg::cli::main()
}
