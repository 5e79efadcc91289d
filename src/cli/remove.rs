//! `headwater remove`.

use std::path::PathBuf;

use super::Failure;
use crate::library::Folder;

/// Remove an asset from a library, with all its versions.
///
/// It is gone in one step, and a running server answers 404 for it within a second; players that have one of its files
/// open read that file to its end.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory of the library.
    #[arg(long, value_name = "DIR")]
    library: PathBuf,
    /// What the asset is called.
    #[arg(long, value_name = "NAME")]
    asset: String,
}

pub fn run(args: Args) -> Result<(), Failure> {
    Folder::open(&args.library)?.remove(&args.asset)?;
    println!("{}: removed", args.asset);
    Ok(())
}
