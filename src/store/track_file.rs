//! Track files being written.
