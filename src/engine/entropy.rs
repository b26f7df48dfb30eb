//! Where a handle's randomness comes from.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::core::entropy::Entropy;
use crate::core::request::Bytes;

/// Tokens straight from the kernel, so that a fork cannot repeat them; jitter from a generator seeded per handle.
#[derive(Debug)]
pub struct SystemEntropy {
    jitter: StdRng,
}

impl SystemEntropy {
    /// A source for one handle.
    #[must_use]
    pub fn new() -> SystemEntropy {
        SystemEntropy { jitter: StdRng::from_seed(seed()) }
    }
}

/// Two version 4 UUIDs: 244 bits from the kernel.
fn seed() -> [u8; 32] {
    let mut seed = [0; 32];
    seed[..16].copy_from_slice(uuid::Uuid::new_v4().as_bytes());
    seed[16..].copy_from_slice(uuid::Uuid::new_v4().as_bytes());
    seed
}

impl Entropy for SystemEntropy {
    fn token(&mut self) -> Bytes {
        let mut text = uuid::Uuid::encode_buffer();
        Bytes::from(uuid::Uuid::new_v4().simple().encode_lower(&mut text).as_bytes())
    }

    fn up_to(&mut self, most: u64) -> u64 {
        self.jitter.random_range(0..=most)
    }
}
