//! `headwater check`: is the configuration right, and is this machine ready?

use std::path::PathBuf;

use super::Failure;

/// Check the configuration and this machine before serving
///
/// Reports every mistake in the configuration, then what the machine offers: io_uring, open files, congestion control,
/// the library's directory and file system. Exit status 1 if something would keep the server from running.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = crate::config::DEFAULT_PATH)]
    config: PathBuf,
}

pub fn run(args: Args) -> Result<(), Failure> {
    let _ = crate::config::load(&args.config)?;
    Err("check: not wired yet".into())
}
