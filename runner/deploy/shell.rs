//! One shell on a host that carries out scripts one after another: a round trip each.
//!
//! # How it works
//! A script is written to the shell's standard input inside a pair of marks that nobody can guess;
//! it runs in a subshell of its own, so that its `exit`, its variables and its open files end with
//! it. Its standard output comes as it is, its standard error behind it. A shell whose script was
//! not read to the end is let go.

use std::time::Duration;

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    sync::Mutex,
    time::timeout,
};

use super::error::OpError;
use crate::ssh::{Connection, Stream};

/// What the shell is started as, whatever the user's login shell is.
const SHELL: &str = "exec sh -s";

/// The shell of a host, opened when it is needed.
#[derive(Debug, Default)]
pub(super) struct Shell {
    /// Not there while a script runs, so that one which is broken off takes its shell along.
    stream: Mutex<Option<Stream>>,
}

impl Shell {
    /// Runs a script and returns both outputs as text.
    pub(super) async fn run(
        &self,
        connection: &Connection,
        script: &str,
        (what, limit): (&str, Duration),
    ) -> Result<(String, String), OpError> {
        let mut kept = self.stream.lock().await;
        let mark = format!("==runner-{}==", uuid::Uuid::now_v7().simple());
        let text = framed(script, &mark);
        let talking = async {
            if let Some(mut stream) = kept.take() {
                match talk(&mut stream, &text, &mark).await {
                    Ok(said) => return Ok((said, stream)),
                    // It ended while nobody needed it; scripts may be carried out twice.
                    Err(_) if connection.failure().is_none() => {}
                    Err(reason) => return Err(broken(what, &reason)),
                }
            }
            let mut stream = connection.connect_command(SHELL).await?;
            let said = talk(&mut stream, &text, &mark).await;
            said.map(|said| (said, stream))
                .map_err(|reason| broken(what, &reason))
        };
        let (said, stream) = timeout(limit, talking)
            .await
            .map_err(|_| OpError::TooLong {
                what: format!("the end of `{what}`"),
                limit,
            })??;
        *kept = Some(stream);
        Ok(said)
    }
}

fn broken(what: &str, reason: &str) -> OpError {
    OpError::Script {
        what: what.to_owned(),
        reason: reason.to_owned(),
    }
}

/// The script with what tells its outputs apart from all else that the shell says.
fn framed(script: &str, mark: &str) -> String {
    format!(
        "exec 3>&1; printf '%s\\n' '{mark}'; said=$( (\n{script}\n) 2>&1 >&3 3>&- </dev/null ); \
         printf '%s\\n%s\\n%s.\\n' '{mark}' \"$said\" '{mark}'\n"
    )
}

/// Sends a framed script and reads both outputs.
async fn talk<S>(stream: &mut S, text: &str, mark: &str) -> Result<(String, String), String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let words = |error: std::io::Error| error.to_string();
    stream.write_all(text.as_bytes()).await.map_err(words)?;
    stream.flush().await.map_err(words)?;
    let end = format!("\n{mark}.\n");
    let mut said = Vec::new();
    while !said.ends_with(end.as_bytes()) {
        if stream.read_buf(&mut said).await.map_err(words)? == 0 {
            return Err("the host's shell ended before the script did".to_owned());
        }
    }
    let said = String::from_utf8_lossy(&said);
    let parts: Vec<&str> = said.split(mark).collect();
    let [.., stdout, stderr, _] = parts.as_slice() else {
        return Err("the host's shell said something else".to_owned());
    };
    let inside = |text: &str| text.strip_prefix('\n').unwrap_or(text).to_owned();
    Ok((inside(stdout), inside(stderr)))
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use tokio::process::{Child, Command};

    use super::*;

    /// A shell of this machine, as a stream.
    fn shell() -> (Child, impl AsyncRead + AsyncWrite + Unpin) {
        let mut child = Command::new("sh")
            .arg("-s")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        (child, tokio::io::join(output, input))
    }

    async fn said(
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        script: &str,
    ) -> (String, String) {
        let mark = format!("=={}==", uuid::Uuid::now_v7().simple());
        talk(stream, &framed(script, &mark), &mark).await.unwrap()
    }

    #[tokio::test]
    async fn scripts_follow_each_other_in_one_shell_and_none_sees_another() {
        let (_child, mut stream) = shell();
        for (script, stdout, stderr) in [
            ("echo one; echo two >&2; kept=1", "one\n", "two\n"),
            (
                "printf 'no end'; echo \"<$kept>\" >&2; exit 7",
                "no end",
                "<>\n",
            ),
            (
                "cat; echo \"it's $(echo \"quoted ) (\")\"",
                "it's quoted ) (\n",
                "\n",
            ),
            ("exec 9>/dev/null; echo last", "last\n", "\n"),
        ] {
            let (out, err) = said(&mut stream, script).await;
            assert_eq!((out.as_str(), err.as_str()), (stdout, stderr), "{script}");
        }
    }

    #[tokio::test]
    async fn a_shell_that_ends_is_told() {
        let (_child, mut stream) = shell();
        let told = talk(&mut stream, "exit 3\n", "==none==").await;
        assert!(told.unwrap_err().contains("ended before"));
    }
}
