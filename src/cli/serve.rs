//! `headwater serve`: the appliance.

use std::path::PathBuf;

use super::Failure;

/// Run the appliance: serve the library to players and CDNs
///
/// Runs until SIGTERM or SIGINT, then finishes what is in flight (a second signal stops at once). SIGHUP reads the
/// configuration again, as far as that is possible without a restart. The library is watched: assets that are imported,
/// replaced or removed meanwhile are served, or gone, within a second.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = crate::config::DEFAULT_PATH)]
    config: PathBuf,
}

pub fn run(args: Args) -> Result<(), Failure> {
    let _ = crate::config::load(&args.config)?;
    Err("serve: not wired yet".into())
}
