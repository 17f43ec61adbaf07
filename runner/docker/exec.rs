//! Commands in running containers, and containers as commands.

use std::{io, pin::Pin, time::Duration};

use bollard::{
    container::{AttachContainerResults, LogOutput},
    errors::Error as BollardError,
    exec::{CreateExecOptions, StartExecResults},
    query_parameters::AttachContainerOptionsBuilder,
};
use futures_util::{Stream, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use super::{
    Chunk, DockerError, Engine, Env, StdStream,
    engine::{QUICK, WORK},
};

/// How much of the end of what a command says on standard error is kept.
const LAST_WORDS: usize = 16 * 1024;
/// How long the daemon may take to know the code of a command whose output has ended.
const AFTERMATH: Duration = Duration::from_secs(10);

/// A command for a container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExecSpec {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Added to the container's environment.
    pub env: Env,
    /// User, the container's if none.
    pub user: Option<String>,
    /// Working directory, the container's if none.
    pub workdir: Option<String>,
    /// Whether it may do everything that the host's root may.
    pub privileged: bool,
}

impl ExecSpec {
    /// Takes program and arguments.
    pub fn of_words<T: Into<String>>(words: impl IntoIterator<Item = T>) -> Self {
        Self {
            command: words.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }
}

/// Keeps the standard input of a container open until it is dropped.
pub struct Hold {
    _streams: std::sync::Mutex<AttachContainerResults>,
}

impl std::fmt::Debug for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hold")
    }
}

/// What a command said, and its code.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Executed {
    /// Everything on standard output.
    pub stdout: Vec<u8>,
    /// Everything on standard error.
    pub stderr: Vec<u8>,
    /// Its code.
    pub code: i64,
}

/// What a command says.
type Output = Pin<Box<dyn Stream<Item = Result<LogOutput, BollardError>> + Send>>;
/// What it is told.
type Input = Pin<Box<dyn AsyncWrite + Send>>;

fn action(container: &str, spec: &ExecSpec) -> String {
    let program = spec.command.first().map_or("", String::as_str);
    format!("run `{program}` in container `{container}`")
}

impl Engine {
    /// Runs a command in a running container and returns its code.
    ///
    /// `stdin` is read to its end and closed; without it the command sees none. `on_output` gets
    /// both streams as they come. If the future is dropped, the command goes on without its
    /// streams: it has to be ended in the container.
    ///
    /// # Errors
    /// [`DockerError::NotFound`], [`DockerError::Conflict`] (it does not run), or the connection
    /// broke; a command that fails is no error. A program that is not there has code 126 or 127.
    pub async fn exec(
        &self,
        container: &str,
        spec: &ExecSpec,
        stdin: Option<&mut (dyn AsyncRead + Send + Unpin)>,
        on_output: &mut (dyn FnMut(Chunk) + Send),
    ) -> Result<i64, DockerError> {
        let action = action(container, spec);
        let (id, mut output, mut input) = self
            .begin(&action, container, spec, stdin.is_some())
            .await?;
        self.talk(&action, stdin, &mut input, &mut output, on_output)
            .await?;
        self.code_of(&action, &id).await
    }

    /// Runs a command in a running container and writes what it says on standard output to `sink`,
    /// no quicker than that takes it; the end of what it says on standard error is kept.
    ///
    /// The inner error is that of `sink`: it was not flushed, and the command may go on. The same
    /// holds if the future is dropped.
    ///
    /// # Errors
    /// As [`Self::exec`].
    pub async fn exec_into(
        &self,
        container: &str,
        spec: &ExecSpec,
        sink: &mut (dyn AsyncWrite + Send + Unpin),
    ) -> Result<io::Result<Executed>, DockerError> {
        let action = action(container, spec);
        let (id, mut output, mut input) = self.begin(&action, container, spec, false).await?;
        let _closed = input.shutdown().await;
        let mut stderr = Vec::new();
        while let Some(item) = output.next().await {
            let chunk = Chunk::of(item.map_err(|e| self.failed(&action, e))?);
            match chunk.stream {
                StdStream::Stdout => {
                    if let Err(error) = sink.write_all(&chunk.bytes).await {
                        return Ok(Err(error));
                    }
                }
                StdStream::Stderr => {
                    stderr.extend_from_slice(&chunk.bytes);
                    stderr.drain(..stderr.len().saturating_sub(LAST_WORDS));
                }
            }
        }
        if let Err(error) = sink.flush().await {
            return Ok(Err(error));
        }
        let code = self.code_of(&action, &id).await?;
        Ok(Ok(Executed {
            stdout: Vec::new(),
            stderr,
            code,
        }))
    }

    /// Starts a command in a running container; returns its id and its streams.
    async fn begin(
        &self,
        action: &str,
        container: &str,
        spec: &ExecSpec,
        has_stdin: bool,
    ) -> Result<(String, Output, Input), DockerError> {
        let options = CreateExecOptions {
            cmd: Some(spec.command.clone()),
            env: spec.env.to_api(),
            user: spec.user.clone(),
            working_dir: spec.workdir.clone(),
            privileged: Some(spec.privileged),
            attach_stdin: Some(has_stdin),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            tty: Some(false),
            detach_keys: None,
        };
        let create = self.docker.create_exec(container, options);
        let id = self.within(QUICK, action, create).await?.id;
        let start = self.docker.start_exec(&id, None);
        let StartExecResults::Attached { output, input } = self.within(WORK, action, start).await?
        else {
            return Err(self.interrupted(action, "the daemon detached the command"));
        };
        Ok((id, output, input))
    }

    /// Feeds one side and reads the other to its end.
    async fn talk(
        &self,
        action: &str,
        stdin: Option<&mut (dyn AsyncRead + Send + Unpin)>,
        input: &mut (impl AsyncWrite + Unpin),
        output: &mut (impl Stream<Item = Result<LogOutput, BollardError>> + Unpin),
        on_output: &mut (dyn FnMut(Chunk) + Send),
    ) -> Result<(), DockerError> {
        let feed = async {
            // A command need not read what it is given, so a broken pipe is no error.
            if let Some(stdin) = stdin {
                let _unread = tokio::io::copy(stdin, input).await;
            }
            let _closed = input.shutdown().await;
            std::future::pending::<()>().await;
        };
        let read = async {
            while let Some(item) = output.next().await {
                on_output(Chunk::of(item.map_err(|e| self.failed(action, e))?));
            }
            Ok(())
        };
        tokio::select! {
            outcome = read => outcome,
            () = feed => Ok(()),
        }
    }

    /// Starts a created container, with its streams, and returns its code when it has ended.
    ///
    /// Nothing that it says is missed, whatever its log driver. `stdin` needs a container with
    /// `open_stdin`. If the future is dropped, the container goes on.
    ///
    /// # Errors
    /// As [`Self::start`], or the connection broke.
    pub async fn run_attached(
        &self,
        container: &str,
        stdin: Option<&mut (dyn AsyncRead + Send + Unpin)>,
        on_output: &mut (dyn FnMut(Chunk) + Send),
    ) -> Result<i64, DockerError> {
        let action = format!("attach to container `{container}`");
        let options = AttachContainerOptionsBuilder::default()
            .stream(true)
            .stdin(stdin.is_some())
            .stdout(true)
            .stderr(true)
            .build();
        let attach = self.docker.attach_container(container, Some(options));
        let AttachContainerResults {
            mut output,
            mut input,
        } = self.within(WORK, &action, attach).await?;
        self.start(container).await?;
        self.talk(&action, stdin, &mut input, &mut output, on_output)
            .await?;
        self.wait(container).await
    }

    /// Starts a created container with `open_stdin` and keeps its standard input open for as long
    /// as what is returned, this process and its connection to the daemon live: a container whose
    /// command reads its input to the end then ends with them, however they end.
    ///
    /// # Errors
    /// As [`Self::start`], or the connection broke.
    pub async fn start_held(&self, container: &str) -> Result<Hold, DockerError> {
        let action = format!("attach to container `{container}`");
        let options = AttachContainerOptionsBuilder::default()
            .stream(true)
            .stdin(true)
            .build();
        let attach = self.docker.attach_container(container, Some(options));
        let streams = self.within(WORK, &action, attach).await?;
        self.start(container).await?;
        Ok(Hold {
            _streams: std::sync::Mutex::new(streams),
        })
    }

    /// Runs a command with `stdin` and keeps what it says.
    ///
    /// # Errors
    /// As [`Self::exec`].
    pub async fn exec_output(
        &self,
        container: &str,
        spec: &ExecSpec,
        stdin: Option<&[u8]>,
    ) -> Result<Executed, DockerError> {
        let mut executed = Executed::default();
        let mut source = stdin;
        let mut keep = |chunk: Chunk| match chunk.stream {
            StdStream::Stdout => executed.stdout.extend_from_slice(&chunk.bytes),
            StdStream::Stderr => executed.stderr.extend_from_slice(&chunk.bytes),
        };
        let stdin = source
            .as_mut()
            .map(|bytes| bytes as &mut (dyn AsyncRead + Send + Unpin));
        let code = self.exec(container, spec, stdin, &mut keep).await?;
        Ok(Executed { code, ..executed })
    }

    async fn code_of(&self, action: &str, id: &str) -> Result<i64, DockerError> {
        let deadline = tokio::time::Instant::now() + AFTERMATH;
        loop {
            let found = self
                .within(QUICK, action, self.docker.inspect_exec(id))
                .await?;
            match found.exit_code {
                Some(code) if found.running != Some(true) => return Ok(code),
                _ if tokio::time::Instant::now() > deadline => {
                    return Err(self.interrupted(action, "the output ended before the command"));
                }
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }
}
