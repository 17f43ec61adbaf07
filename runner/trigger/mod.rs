//! Where events come from: looks at the repositories, schedules, and what GitHub delivers.

mod asked;
mod delivery;
mod inbox;
mod missed;
mod pace;
mod poll;
mod push;
mod schedule;

pub use asked::{Asked, asked, is_own};
pub use delivery::{CommitSource, Described, describe};
pub use inbox::Inbox;
pub use missed::{HookSource, Missed};
pub use poll::{Poll, PollError, look};
pub use push::push_event;
pub use schedule::{ReadSchedules, ScheduleEntries, Schedules};
