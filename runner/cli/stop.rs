//! Ctrl-C and SIGTERM: the first cancels the run, the second ends everything at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::write_note;

/// Listens until the process ends, and cancels the tokens one after the other.
pub(super) async fn watch_signals(cancel: CancellationToken, force: CancellationToken) {
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        write_note("warning: signals cannot be watched; Ctrl-C ends the program at once");
        return;
    };
    for (token, words) in [
        (
            cancel,
            "cancelling: steps that clean up still run; once more ends everything at once",
        ),
        (force, "ending everything at once"),
    ] {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        write_note(words);
        token.cancel();
    }
}
