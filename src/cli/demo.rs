//! `headwater demo`: a small library and a player page, with nothing installed and nothing configured.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::Failure;

/// Show it: serve a small sample library and a player page
///
/// Builds a library from sample media inside this binary, serves it, and prints the address of the player page and of the
/// HLS and DASH manifests. Needs no configuration and leaves nothing behind. Stop it with Ctrl-C.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to serve it
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Build the library in this directory and leave it there (default: a temporary one, removed at the end)
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

pub fn run(args: Args) -> Result<(), Failure> {
    let _ = (args.listen, args.keep);
    Err("demo: not wired yet".into())
}
