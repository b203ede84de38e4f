//! Telling the log of handshakes that have failed, without letting strangers fill it.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::info;

use crate::api::ConnectionInfo;

/// In each such time…
const WINDOW: Duration = Duration::from_secs(1);
/// … so many lines are written at most for one listener.
const LINES_MAX: u32 = 10;

/// The refused handshakes of one listener.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    since: Option<Instant>,
    lines: u32,
    left_out: u64,
}

impl Refusals {
    /// A line, unless there have been enough.
    pub(super) fn tell(&self, connection: &ConnectionInfo, reason: &dyn std::fmt::Display) {
        let Some(left_out) = self.0.lock().admit(Instant::now()) else {
            return;
        };
        let (peer, listener) = (connection.peer, &connection.listener);
        // Source: Kafka 3.9 `Selector.pollSelectionKeys`.
        info!(
            target: "org.apache.kafka.common.network.Selector",
            %peer, %listener, left_out, "Failed authentication with /{} ({reason})", peer.ip()
        );
    }
}

impl Told {
    /// Whether another line may be written; then how many were not.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        if self
            .since
            .is_none_or(|since| now.saturating_duration_since(since) >= WINDOW)
        {
            self.since = Some(now);
            self.lines = 0;
        }
        if self.lines == LINES_MAX {
            self.left_out += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_and_those_left_out_are_counted() {
        let mut told = Told::default();
        let start = Instant::now();
        let admitted: Vec<_> = (0..15).filter_map(|_| told.admit(start)).collect();
        assert_eq!(admitted, vec![0; 10]);
        assert_eq!(told.admit(start + WINDOW), Some(5));
        assert_eq!(told.admit(start + WINDOW), Some(0));
    }
}
