//! The only source of chance: everything in a schedule follows from its seed.

use redlock::core::entropy::Entropy;
use redlock::core::request::Bytes;

/// wyrand: small, fast, and good enough to choose faults with.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Rng {
        let mut rng = Rng(seed ^ 0x9E37_79B9_7F4A_7C15);
        rng.next();
        rng
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0xA076_1D64_78BD_642F);
        let product = u128::from(self.0) * u128::from(self.0 ^ 0xE703_7ED1_A0B4_28DB);
        (product >> 64) as u64 ^ product as u64
    }

    /// A number in `0 .. end`.
    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// An index in `0 .. end`.
    pub fn index(&mut self, end: usize) -> usize {
        self.below(end as u64) as usize
    }

    /// A number in `from ..= to`.
    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from + 1)
    }

    /// True once in `n` times; never for 0.
    pub fn one_in(&mut self, n: u64) -> bool {
        n != 0 && self.below(n) == 0
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.index(from.len())]
    }

    /// Between `from` and `to`, every order of magnitude equally likely.
    pub fn spread(&mut self, from: u64, to: u64) -> u64 {
        let magnitude = self.below(64 - u64::from((to / from.max(1)).leading_zeros()));
        let low = from << magnitude;
        self.between(low.min(to), (low << 1).clamp(from, to))
    }
}

/// A token that was chosen by a client: the number of the client and a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenId {
    pub client: usize,
    pub count: usize,
}

impl TokenId {
    pub fn bytes(self) -> Bytes {
        let id = (self.client as u32) << 24 | self.count as u32;
        Bytes::from(id.to_be_bytes().as_slice())
    }

    pub fn of(token: &[u8]) -> TokenId {
        let id = u32::from_be_bytes(token.try_into().expect("tokens of the simulator have four bytes"));
        TokenId { client: (id >> 24) as usize, count: (id & 0xFF_FFFF) as usize }
    }
}

/// The entropy of one client.
#[derive(Debug)]
pub struct Chance {
    pub rng: Rng,
    pub client: usize,
    pub tokens: usize,
}

impl Chance {
    pub fn fresh(&mut self) -> TokenId {
        let token = TokenId { client: self.client, count: self.tokens };
        self.tokens += 1;
        token
    }
}

impl Entropy for Chance {
    fn token(&mut self) -> Bytes {
        self.fresh().bytes()
    }

    fn up_to(&mut self, most: u64) -> u64 {
        self.rng.between(0, most.min(u64::MAX - 1))
    }
}
