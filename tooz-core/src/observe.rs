//! The one place that emits spans and metrics. Never a payload, never a secret.
//!
//! With the feature `metrics`, through the `metrics` facade: `tooz_step_seconds{step}`,
//! `tooz_step_errors_total{step,kind}`, `tooz_wait_seconds`, `tooz_contended_total`, `tooz_hold_seconds`,
//! `tooz_renew_seconds`, `tooz_lost_total{cause}`, `tooz_session_lost_total{cause}`,
//! `tooz_ring_weights_corrected_total`.

use std::time::{Duration, Instant};

use tracing::Span;

use crate::error::Error;
use crate::lost::Cause;
use crate::name::Name;

/// The span of a public call on a named subject.
pub(crate) fn call(call: &'static str, subject: &dyn std::fmt::Display) -> Span {
    tracing::debug_span!("tooz", call, %subject)
}

/// Measures one attempt of a step.
pub(crate) struct Timing {
    step: &'static str,
    begun: Instant,
}

impl Timing {
    pub(crate) fn of(step: &'static str) -> Self {
        Self { step, begun: Instant::now() }
    }

    pub(crate) fn end(self, failure: Option<&Error>) {
        let took = self.begun.elapsed();
        match failure {
            None => tracing::trace!(step = self.step, ?took, "step"),
            Some(failure) => {
                tracing::debug!(step = self.step, ?took, kind = ?failure.kind(), effect = ?failure.effect(), "step failed");
            }
        }
        #[cfg(feature = "metrics")]
        {
            metrics::histogram!("tooz_step_seconds", "step" => self.step).record(took.as_secs_f64());
            if let Some(failure) = failure {
                let kind = format!("{:?}", failure.kind());
                metrics::counter!("tooz_step_errors_total", "step" => self.step, "kind" => kind).increment(1);
            }
        }
    }
}

/// A claim was granted after this wait.
pub(crate) fn granted(waited: Duration, contended: bool) {
    tracing::trace!(?waited, contended, "granted");
    #[cfg(feature = "metrics")]
    {
        metrics::histogram!("tooz_wait_seconds").record(waited.as_secs_f64());
        if contended {
            metrics::counter!("tooz_contended_total").increment(1);
        }
    }
}

/// A claim was given back after being held for this long.
pub(crate) fn released(held: Duration) {
    tracing::trace!(?held, "released");
    #[cfg(feature = "metrics")]
    metrics::histogram!("tooz_hold_seconds").record(held.as_secs_f64());
}

/// A beat was acknowledged this long after it was sent.
pub(crate) fn renewed(lag: Duration) {
    tracing::trace!(?lag, "renewed");
    #[cfg(feature = "metrics")]
    metrics::histogram!("tooz_renew_seconds").record(lag.as_secs_f64());
}

/// A held claim was lost.
pub(crate) fn lost(cause: Cause) {
    tracing::debug!(%cause, "claim lost");
    #[cfg(feature = "metrics")]
    metrics::counter!("tooz_lost_total", "cause" => format!("{cause:?}")).increment(1);
}

/// A session was lost.
pub(crate) fn session_lost(cause: Cause) {
    tracing::debug!(%cause, "session lost");
    #[cfg(feature = "metrics")]
    metrics::counter!("tooz_session_lost_total", "cause" => format!("{cause:?}")).increment(1);
}

/// A member asks for a weight on a hash ring that does not count as it is.
pub(crate) fn weight_corrected(member: &Name, asked: Option<u64>, counted: u32) {
    tracing::warn!(%member, ?asked, counted, "member asks for no weight that can count; corrected");
    #[cfg(feature = "metrics")]
    metrics::counter!("tooz_ring_weights_corrected_total").increment(1);
}
