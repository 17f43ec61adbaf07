//! The records on a host, read or given up by hand.

use super::{error::OpError, host::Host, script};
use crate::release::paths::Paths;

impl Host {
    /// Reads the last lines of Kamal's audit log; none where there is no log.
    ///
    /// # Errors
    /// The host is not reachable.
    pub async fn audit(&self, paths: &Paths, lines: usize) -> Result<Vec<String>, OpError> {
        let path = script::quote(&paths.audit());
        let text = format!("if [ -f {path} ]; then tail -n {lines} {path}; fi");
        let (stdout, _) = self.script(text, "read the audit log").await?;
        Ok(stdout.lines().map(str::to_owned).collect())
    }

    /// Gives the lock back, whoever holds it.
    ///
    /// # Errors
    /// The host is not reachable, or the lock could not be removed.
    pub async fn release_lock(&self, paths: &Paths) -> Result<(), OpError> {
        let what = "give the lock back";
        let (stdout, stderr) = self.script(script::release_lock(paths), what).await?;
        if stdout.lines().any(|line| line == "runner:released") {
            return Ok(());
        }
        Err(OpError::Script {
            what: what.to_owned(),
            reason: stderr.trim().to_owned(),
        })
    }
}
