//! The commands: what a user types, and what comes back as exit status and as one line on stderr.
//!
//! Each command is one file with its arguments (`Args`, whose comments are the help text) and its `run`.

mod appliance;
pub mod check;
pub mod demo;
pub mod harvest;
pub mod import;
pub mod inspect;
pub mod list;
mod logging;
mod player;
pub mod remove;
pub mod serve;
mod signals;
mod status;
mod track_text;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::sys::pipe;

/// Why a command failed: its text is the one line the user reads.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A video origin: files and encoders in, HLS and MPEG-DASH out.
///
/// Import a video once with `headwater import`; `headwater serve` then gives it to players and CDNs in every format,
/// from one stored copy. To see it work without setting anything up, run `headwater demo`.
#[derive(Debug, Parser)]
#[command(name = "headwater", version, max_term_width = 100, after_help = EXIT_STATUS)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

const EXIT_STATUS: &str = "Exit status: 0 done; 1 it failed, and stderr says why in one line; 2 wrong usage.";

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Args),
    Serve(serve::Args),
    Import(import::Args),
    Harvest(harvest::Args),
    List(list::Args),
    Remove(remove::Args),
    Inspect(inspect::Args),
    Check(check::Args),
}

/// Reads the command line and runs the command.
pub fn main() -> ExitCode {
    let command_line = match CommandLine::try_parse() {
        Ok(command_line) => command_line,
        // Help and version are no errors: 0, on stdout. Everything else is wrong usage: 2, on stderr.
        Err(usage) => {
            let shown = usage.print();
            return if usage.use_stderr() || shown.is_err_and(|error| !reader_left(&error)) {
                ExitCode::from(2)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match run(command_line.command) {
        Ok(()) => ExitCode::SUCCESS,
        // `headwater demo | head`: the reader has what it wanted.
        Err(failure) if failure.downcast_ref::<io::Error>().is_some_and(reader_left) => ExitCode::SUCCESS,
        Err(failure) => {
            let mut stderr = io::stderr().lock();
            for line in failure.to_string().lines() {
                // Nobody is left to be told when stderr fails as well; the exit status still says it.
                let _ = writeln!(stderr, "headwater: {line}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    signals::outlive_long_files()?;
    // Servers clean up after themselves when their output has no reader; the others just end.
    if !matches!(command, Command::Demo(_) | Command::Serve(_)) {
        pipe::end_with_the_reader()?;
    }
    match command {
        Command::Demo(args) => demo::run(args),
        Command::Serve(args) => serve::run(args),
        Command::Import(args) => import::run(args),
        Command::Harvest(args) => harvest::run(args),
        Command::List(args) => list::run(args),
        Command::Remove(args) => remove::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Check(args) => check::run(args),
    }
}

fn reader_left(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    #[test]
    fn the_command_line_is_consistent_and_every_argument_is_explained() {
        let mut command = CommandLine::command();
        command.build();
        command.clone().debug_assert();
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            assert!(sub.get_about().is_some(), "{} has no description", sub.get_name());
            for argument in sub.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {} has no help", sub.get_name(), argument.get_id());
            }
        }
    }

    #[test]
    fn usage() {
        for (line, want) in [
            ("headwater demo --listen 127.0.0.1:9000", None),
            ("headwater serve --config /tmp/x.toml", None),
            ("headwater check", None),
            ("headwater", Some(ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand)),
            ("headwater --version", Some(ErrorKind::DisplayVersion)),
            ("headwater frobnicate", Some(ErrorKind::InvalidSubcommand)),
            ("headwater demo --listen nowhere", Some(ErrorKind::ValueValidation)),
            ("headwater serve --confog x", Some(ErrorKind::UnknownArgument)),
        ] {
            let got = CommandLine::try_parse_from(line.split(' ')).err().map(|error| error.kind());
            assert_eq!(got, want, "{line}");
        }
    }
}
