//! Tells people what they must not miss: by webhook, Slack-compatible webhook, or e-mail.

mod channel;
mod email;
mod notice;
mod template;
mod webhook;

pub use channel::{Channel, ChannelError, Means, Undelivered};
pub use email::{Email, SmtpTls};
pub use notice::{Notice, NoticeKind};
pub use template::{Template, TemplateError};
pub use webhook::Webhook;
