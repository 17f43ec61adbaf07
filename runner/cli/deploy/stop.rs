//! Ctrl-C and SIGTERM during a deploy: the first undoes what was done, the second leaves it.

use tokio::signal::unix::{SignalKind, signal};

use super::release::Stop;
use crate::cli::write_note;

/// Does work that a signal cancels.
pub(super) async fn with_signals<T>(stop: &Stop, work: impl Future<Output = T>) -> T {
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        write_note("warning: signals cannot be watched; Ctrl-C ends the program at once");
        return work.await;
    };
    let watch = async {
        for (token, words) in [
            (
                &stop.cancel,
                "cancelling: what was done is being undone; once more leaves it as it is",
            ),
            (&stop.force, "leaving everything as it is"),
        ] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            write_note(words);
            token.cancel();
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        done = work => done,
        () = watch => std::future::pending().await,
    }
}
