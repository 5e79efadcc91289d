//! WebVTT files (W3C WebVTT).
