//! 128 bits that stand for a state. With ten million states, two share theirs with a probability below 10⁻²⁴.

use std::hash::{BuildHasherDefault, Hash, Hasher};

/// Two lanes, each of which takes every word in by a bijection, so that what was hashed before is never forgotten.
struct Lanes(u64, u64);

impl Hasher for Lanes {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.write_u64(u64::from(number));
    }

    fn write_u16(&mut self, number: u16) {
        self.write_u64(u64::from(number));
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    fn write_u64(&mut self, word: u64) {
        let mix = |lane: u64, factor: u64, shift: u32| {
            let product = (lane ^ word).wrapping_mul(factor);
            product ^ product >> shift
        };
        self.0 = mix(self.0, 0x9E37_79B9_7F4A_7C15, 32);
        self.1 = mix(self.1.rotate_left(23), 0xD6E8_FEB8_6659_FD93, 29);
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

pub fn fingerprint(state: &impl Hash) -> u128 {
    let mut lanes = Lanes(0x243F_6A88_85A3_08D3, 0x1319_8A2E_0370_7344);
    state.hash(&mut lanes);
    lanes.write_u64(0);
    u128::from(lanes.0) << 64 | u128::from(lanes.1)
}

/// For tables of fingerprints, which need no further hashing.
#[derive(Default)]
pub struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write(&mut self, _: &[u8]) {
        unreachable!("fingerprints are numbers");
    }

    fn write_u128(&mut self, fingerprint: u128) {
        self.0 = fingerprint as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

pub type ByFingerprint<T> = std::collections::HashMap<u128, T, BuildHasherDefault<AsItIs>>;
