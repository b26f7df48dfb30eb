//! Durations as people write them: `30`, `2.5`, `500ms`, `10s`, `5m`, `1h`. Without a unit they are seconds.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, Deserializer};

/// Ten years: longer than anything here, and far from any overflow.
const MOST_SECONDS: f64 = 315_360_000.0;

/// A duration in whole milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Milliseconds(pub u64);

impl Milliseconds {
    pub fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }

    /// For a wait, which the library counts in signed milliseconds.
    pub fn signed(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }
}

impl FromStr for Milliseconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Milliseconds, String> {
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let seconds_per_unit = match unit.trim() {
            "" | "s" => 1.0,
            "ms" => 0.001,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            other => return Err(format!("'{other}' is no unit of time: use ms, s, m, h or d")),
        };
        let number: f64 = number.parse().map_err(|_| format!("'{text}' is no duration, such as 30, 2.5s or 500ms"))?;
        let seconds = number * seconds_per_unit;
        if !(0.0..=MOST_SECONDS).contains(&seconds) {
            return Err(format!("'{text}' is out of range: at most ten years"));
        }
        Ok(Milliseconds(Duration::from_secs_f64(seconds).as_millis().try_into().unwrap_or(u64::MAX)))
    }
}

impl<'de> Deserialize<'de> for Milliseconds {
    /// From a string with a unit or from a number of seconds.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Milliseconds, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Text(String),
            Number(f64),
        }
        let text = match Written::deserialize(deserializer)? {
            Written::Text(text) => text,
            Written::Number(seconds) => seconds.to_string(),
        };
        text.parse().map_err(de::Error::custom)
    }
}

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        redlock::core::report::Milliseconds(self.0).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_seconds_unless_they_name_a_unit() {
        let parsed = |text: &str| text.parse::<Milliseconds>().map(|Milliseconds(ms)| ms);
        assert_eq!(parsed("30"), Ok(30_000));
        assert_eq!(parsed("2.5"), Ok(2_500));
        assert_eq!(parsed("500ms"), Ok(500));
        assert_eq!(parsed("1.5m"), Ok(90_000));
        assert_eq!(parsed("0"), Ok(0));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "x", "-1", "5 parsecs", "1e9h", "99999d", "1.2.3s"] {
            assert!(text.parse::<Milliseconds>().is_err(), "{text}");
        }
    }
}
