//! The commands.

/// Why a command failed: its text is the one line the user reads.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

pub mod import;
pub mod inspect;
pub mod list;
pub mod remove;
mod track_text;
