//! Where log lines go: stderr, one line each, in the form that suits who reads it.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use super::Failure;

/// What is logged, in the syntax of `tracing_subscriber::EnvFilter`: `debug`, `warn,headwater::library=debug`, …
pub const FILTER_VARIABLE: &str = "HEADWATER_LOG";

/// `default` is what is logged when nobody says otherwise.
pub fn start(default: &str) -> Result<(), Failure> {
    let directives = std::env::var(FILTER_VARIABLE).unwrap_or_default();
    let directives = if directives.trim().is_empty() { default } else { &directives };
    let filter = EnvFilter::try_new(directives)
        .map_err(|error| format!("{FILTER_VARIABLE}: found {directives:?}, expected a log filter: {error}"))?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_target(false)
        .with_ansi(has_colours(&io::stderr()));
    // The journal adds the time itself.
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        lines.without_time().init();
    } else {
        lines.init();
    }
    Ok(())
}

/// Whether text for this stream may be coloured: a terminal, and nobody asked for plain text (no-color.org).
pub fn has_colours(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
