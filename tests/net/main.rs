//! Transport and protocol on real sockets and servers, and the fixtures that the other tests stand on.

mod fixture;
mod protocol;
mod stream;
#[path = "../support/mod.rs"]
mod support;
#[cfg(feature = "tls")]
mod tls;
