//! Randomness as an argument: the driver has the entropy, the core asks for what it needs.

use super::request::Bytes;

/// A source of tokens and jitter.
pub trait Entropy {
    /// A token that no other attempt of any client has ever used.
    fn token(&mut self) -> Bytes;

    /// A number in `0 ..= most`, for jitter only.
    fn up_to(&mut self, most: u64) -> u64;
}
