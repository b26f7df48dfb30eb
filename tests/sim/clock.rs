//! Clocks of machines, as functions of true time.

/// A clock that runs at its own rate and may be stepped.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    pub offset_ns: i64,
    pub ppm: i64,
}

impl Clock {
    /// What it shows at the true moment `true_ns`.
    pub fn at(&self, true_ns: u64) -> u64 {
        let true_ns = true_ns as i64;
        (true_ns + true_ns * self.ppm / 1_000_000 + self.offset_ns) as u64
    }

    /// The first true moment at which it shows `local_ns` or more; `u64::MAX` for never.
    pub fn when(&self, local_ns: u64) -> u64 {
        if local_ns > 1 << 60 {
            return u64::MAX;
        }
        let run = local_ns as i64 - self.offset_ns;
        if run <= 0 {
            return 0;
        }
        let mut true_ns = (i128::from(run) * 1_000_000 / i128::from(1_000_000 + self.ppm)) as u64;
        while self.at(true_ns) < local_ns {
            true_ns += 1;
        }
        true_ns
    }
}
