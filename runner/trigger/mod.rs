//! Where events come from: looks at the repositories, and what GitHub delivers.

mod delivery;
mod inbox;
mod poll;
mod push;

pub use delivery::{CommitSource, Described, describe};
pub use inbox::Inbox;
pub use poll::{Poll, PollError, look};
pub use push::push_event;
