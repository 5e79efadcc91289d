//! The delivery plane over real sockets: what clients see of connections, errors and stops. What is answered comes from a
//! stand-in for the service, so that these tests are about moving bytes.

mod access_log;
mod connections;
mod damage;
mod limits;
mod origin;
mod sending;
mod stopping;
mod waiting;
