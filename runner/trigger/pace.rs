//! The pace of looks at what may be away: what fails is said once, and tried again later and later.

use std::time::Duration;

/// When it is looked again.
#[derive(Debug)]
pub(super) struct Pace {
    every: Duration,
    most: Duration,
    pause: Duration,
    is_told: bool,
}

impl Pace {
    /// Looks `every` so often, and while that fails less and less often, but for `most` at the longest.
    pub(super) fn new(every: Duration, most: Duration) -> Self {
        Self {
            every,
            most: most.max(every),
            pause: every,
            is_told: false,
        }
    }

    /// Notes that a look went well; tells whether it had failed before.
    pub(super) fn went_well(&mut self) -> bool {
        self.pause = self.every;
        std::mem::take(&mut self.is_told)
    }

    /// Notes that a look failed; tells whether that is to be said.
    pub(super) fn failed(&mut self) -> bool {
        self.pause = (self.pause * 2).min(self.most);
        !std::mem::replace(&mut self.is_told, true)
    }

    /// Returns the time until the next look.
    pub(super) fn pause(&self) -> Duration {
        self.pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_is_said_once_and_tried_later_and_later() {
        let seconds = Duration::from_secs;
        let mut pace = Pace::new(seconds(2), seconds(7));
        assert!(pace.failed());
        assert_eq!(pace.pause(), seconds(4));
        assert!(!pace.failed());
        assert_eq!(pace.pause(), seconds(7));
        assert!(pace.went_well() && !pace.went_well());
        assert_eq!(pace.pause(), seconds(2));
        let mut slow = Pace::new(seconds(60), seconds(7));
        slow.failed();
        assert_eq!(slow.pause(), seconds(60));
    }
}
