//! Ctrl-C and SIGTERM: the first cancels the run, the second ends everything at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::write_note;

/// Listens until the process ends, and cancels the token of a server at the first signal.
pub(super) async fn watch_stop(stop: CancellationToken) {
    watch(vec![(stop, "stopping")]).await;
}

/// Listens until the process ends, and cancels the tokens of a run one after the other.
pub(super) async fn watch_signals(cancel: CancellationToken, force: CancellationToken) {
    let cancelling = "cancelling: steps that clean up still run; once more ends everything at once";
    watch(vec![
        (cancel, cancelling),
        (force, "ending everything at once"),
    ])
    .await;
}

async fn watch(steps: Vec<(CancellationToken, &str)>) {
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        write_note("warning: signals cannot be watched; Ctrl-C ends the program at once");
        return;
    };
    for (token, words) in steps {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        write_note(words);
        token.cancel();
    }
}
