//! One TOML file, checked into the options of each module.
