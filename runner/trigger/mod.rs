//! Where events come from: a look at the repositories every now and then.

mod poll;
mod push;

pub use poll::{Poll, PollError, look};
pub use push::push_event;
