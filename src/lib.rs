//! Headwater: a video origin and edge server for dedicated Linux machines.

pub mod base;
pub mod cli;
pub mod config;
pub mod delivery;
pub mod http;
pub mod intake;
pub mod library;
pub mod media;
pub mod package;
pub mod service;
pub mod store;
pub mod sys;
