//! The project against its own promises: layers of the sources, documents, the C header.

mod documents;
mod header;
mod layers;
#[path = "../support/mod.rs"]
mod support;
