//! Many measurements of one thing.

use std::fmt;
use std::time::Duration;

/// Durations, sorted when looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Samples(Vec<Duration>);

impl Samples {
    /// One more.
    pub fn push(&mut self, sample: Duration) {
        self.0.push(sample);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The sample below which this share of all lies: `quantile(0.5)` is the median. Zero if there are none.
    pub fn quantile(&self, share: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let last = sorted.len().saturating_sub(1);
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index from a share of a length that fits"
        )]
        let index = (last as f64 * share.clamp(0.0, 1.0)).round() as usize;
        sorted.get(index).copied().unwrap_or_default()
    }

    /// The median.
    pub fn median(&self) -> Duration {
        self.quantile(0.5)
    }

    /// The largest.
    pub fn worst(&self) -> Duration {
        self.quantile(1.0)
    }

    /// This median as a multiple of `other`'s.
    pub fn times(&self, other: &Self) -> f64 {
        self.median().as_secs_f64() / other.median().as_secs_f64().max(1e-12)
    }
}

impl fmt::Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (p50, p99) = (self.median(), self.quantile(0.99));
        write!(f, "p50 {p50:.1?}, p99 {p99:.1?}, worst {:.1?} of {}", self.worst(), self.len())
    }
}

impl FromIterator<Duration> for Samples {
    fn from_iter<I: IntoIterator<Item = Duration>>(samples: I) -> Self {
        Self(samples.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_samples_that_were_taken() {
        let samples: Samples = [5, 1, 3, 2, 4].into_iter().map(Duration::from_millis).collect();
        assert_eq!(samples.median(), Duration::from_millis(3));
        assert_eq!(samples.quantile(0.0), Duration::from_millis(1));
        assert_eq!(samples.worst(), Duration::from_millis(5));
        assert_eq!(Samples::default().median(), Duration::ZERO);
    }

    #[test]
    fn a_multiple_is_of_medians() {
        let (fast, slow): (Samples, Samples) = (
            [2].map(Duration::from_millis).into_iter().collect(),
            [5].map(Duration::from_millis).into_iter().collect(),
        );
        assert!((slow.times(&fast) - 2.5).abs() < 1e-9);
    }
}
