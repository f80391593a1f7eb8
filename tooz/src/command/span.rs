//! Spans of time on the command line.

use std::time::Duration;

/// Reads `5s`, `500ms`, `1m 30s`, or seconds without a unit (`5`, `0.5`).
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || "write a time like 5s, 500ms, 2m, or seconds like 0.5".to_owned();
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|_| wrong());
    }
    humantime::parse_duration(text).map_err(|_| wrong())
}

/// The same, but not zero.
pub(crate) fn parse_positive(text: &str) -> Result<Duration, String> {
    match parse(text)? {
        Duration::ZERO => Err("write a time above zero, like 5s".to_owned()),
        span => Ok(span),
    }
}

/// As people read it: two units at most, nothing below a second once there are some.
pub(crate) fn show(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0 => format!("{}ms", span.as_millis()),
        1..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3600..86400 => format!("{}h {}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d {}h", seconds / 86400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_units_and_plain_seconds() {
        for (text, ms) in [("5s", 5000), ("500ms", 500), ("5", 5000), ("0.5", 500), ("0", 0), ("2m", 120_000)]
        {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "-1", "nan", "inf", "5 parsecs", "1e300"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse_positive("0").is_err());
    }

    #[test]
    fn shows_two_units_at_most() {
        for (seconds, text) in [(0, "0ms"), (12, "12s"), (61, "1m 1s"), (7260, "2h 1m"), (90_000, "1d 1h")] {
            assert_eq!(show(Duration::from_secs(seconds)), text);
        }
    }
}
