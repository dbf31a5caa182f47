//! What an authority said of when to renew a certificate (RFC 9773), as it is remembered.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::Record;
use crate::backoff::{self, Retry};
use crate::issuer::RenewalInfo;
use crate::plan::spread;

/// Answers are asked for again after this at the least and at the most (RFC 9773 section 4.3.2).
const ASK_AGAIN: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(24 * 3600));

/// An authority that says nothing of a certificate is asked again after this.
const ASK_AGAIN_WITHOUT_WINDOW: Duration = ASK_AGAIN.1;

/// What an authority said of when to renew one certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suggestion {
    /// Serial number of the certificate.
    pub serial: String,
    /// The window; `None` when the authority suggests none, or has not answered yet.
    pub window: Option<Window>,
    /// When to ask again.
    pub ask_again_at: Timestamp,
    /// How often it could not be asked since it last answered.
    #[serde(default)]
    pub failures: u32,
}

/// The window in which an authority would have a certificate renewed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Its begin.
    pub start: Timestamp,
    /// Its end.
    pub end: Timestamp,
    /// A page that says why, for people.
    pub explanation_url: Option<String>,
    /// When the authority first named this window.
    pub told_at: Timestamp,
    /// The moment inside it that was chosen.
    pub renew_at: Timestamp,
}

impl Window {
    /// Whether the window was over when the authority named it: the certificate is about to be
    /// revoked, and is to be replaced at once.
    pub fn is_recall(&self) -> bool {
        self.end <= self.told_at
    }
}

impl Record {
    /// What the authority said of the stored certificate.
    pub fn present_suggestion(&self) -> Option<&Suggestion> {
        let serial = &self.certificate.as_ref()?.serial;
        self.suggestion
            .as_ref()
            .filter(|suggestion| suggestion.serial == *serial)
    }

    /// The window that the authority named for the stored certificate.
    pub fn window(&self) -> Option<&Window> {
        self.present_suggestion()?.window.as_ref()
    }

    /// Since when the authority recalls the stored certificate, if it does.
    pub fn recall(&self) -> Option<Timestamp> {
        let window = self.window().filter(|window| window.is_recall())?;
        Some(window.told_at)
    }

    /// The authority answered at `now` of the certificate `serial`. `random` is uniform in 0..1.
    pub fn told(&mut self, serial: &str, info: Option<RenewalInfo>, now: Timestamp, random: f64) {
        let ask_again = info
            .as_ref()
            .map_or(ASK_AGAIN_WITHOUT_WINDOW, |info| info.ask_again_after)
            .clamp(ASK_AGAIN.0, ASK_AGAIN.1)
            // On top, so that it is never asked too early, nor for all names at once.
            .mul_f64(1.0 + backoff::JITTER * random);
        let window = info.map(|info| self.window_of(serial, info, now));
        self.suggestion = Some(Suggestion {
            serial: serial.to_owned(),
            window,
            ask_again_at: after(now, ask_again),
            failures: 0,
        });
    }

    /// The authority could not be asked at `now` of the certificate `serial`: what is known stays.
    /// `random` is uniform in 0..1.
    pub fn not_told(&mut self, serial: &str, retry: Retry, now: Timestamp, random: f64) {
        let known = self
            .suggestion
            .take()
            .filter(|suggestion| suggestion.serial == serial);
        let failures = known.as_ref().map_or(0, |known| known.failures);
        let failures = failures.saturating_add(1);
        let delay = backoff::delay(failures, Duration::ZERO, retry, random).min(ASK_AGAIN.1);
        self.suggestion = Some(Suggestion {
            serial: serial.to_owned(),
            window: known.and_then(|known| known.window),
            ask_again_at: after(now, delay),
            failures,
        });
    }

    /// The moment is chosen once for each window: a hash is as good as chance, and the same again.
    fn window_of(&self, serial: &str, info: RenewalInfo, now: Timestamp) -> Window {
        let length = info.window_end.duration_since(info.window_start);
        let chosen = length.mul_f64(spread::fraction(&self.name, serial));
        let same = self
            .suggestion
            .as_ref()
            .filter(|known| known.serial == serial)
            .and_then(|known| known.window.as_ref())
            .filter(|known| known.start == info.window_start && known.end == info.window_end);
        Window {
            start: info.window_start,
            end: info.window_end,
            explanation_url: info.explanation_url,
            told_at: same.map_or(now, |known| known.told_at),
            renew_at: same.map_or_else(
                || {
                    info.window_start
                        .saturating_add(chosen)
                        .unwrap_or(info.window_end)
                },
                |known| known.renew_at,
            ),
        }
    }
}

fn after(now: Timestamp, delay: Duration) -> Timestamp {
    let delay = SignedDuration::try_from(delay).unwrap_or(SignedDuration::MAX);
    now.saturating_add(delay).unwrap_or(Timestamp::MAX)
}
