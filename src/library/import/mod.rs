//! Import: source files to a published version.
