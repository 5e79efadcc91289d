//! CMAF headers and fragment headers, written.
