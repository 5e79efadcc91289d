//! The mapped index.
