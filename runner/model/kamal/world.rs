//! What the reading of a configuration asks of the world outside.

/// The caller's side: environment, files and commands, in the project's folder.
///
/// Every method answers for the project's folder; none may print. A command's output is text that
/// may hold secrets, so an implementation keeps it out of logs.
pub trait World {
    /// Returns a variable of the process environment.
    fn env(&self, name: &str) -> Option<String>;

    /// Reads a file; `None` if there is none, an error's words if it cannot be read.
    fn read_file(&self, path: &str) -> Result<Option<String>, String>;

    /// Runs a command line in `sh` and returns what it wrote to its standard output.
    ///
    /// Where there is a destination, the command sees it as `KAMAL_DESTINATION`, as with Kamal.
    /// An error is for a command that could not run or that failed; its words must not repeat the
    /// command, which can hold secrets.
    fn run_command(&self, command: &str) -> Result<String, String>;

    /// Runs a command line of a template, as the backticks of Ruby do: what it wrote counts, however
    /// it ended.
    fn run_template_command(&self, command: &str) -> Result<String, String> {
        self.run_command(command)
    }

    /// Answers `kamal secrets …` or `runner secrets …` inside a secrets file, given the words
    /// after `secrets`: `["fetch", "--adapter", …]`, `["extract", NAME, JSON]`.
    fn run_secrets_command(&self, arguments: &[String]) -> Result<String, String>;

    /// Renders an ERB template with Ruby itself, where Ruby is installed.
    ///
    /// `None` is "no Ruby here"; the error's words are Ruby's own.
    fn render_with_ruby(&self, file: &str, template: &str) -> Option<Result<String, String>> {
        let _: (&str, &str) = (file, template);
        None
    }

    /// Returns Docker's architecture in the words of image platforms, as `amd64`.
    fn docker_architecture(&self) -> String {
        let told = self.run_command("docker info --format '{{.Architecture}}'");
        let own = std::env::consts::ARCH.to_owned();
        let told = told.unwrap_or_default().trim().to_owned();
        let architecture = if told.is_empty() { own } else { told };
        match architecture.as_str() {
            "x86_64" => "amd64".to_owned(),
            "aarch64" => "arm64".to_owned(),
            _ => architecture,
        }
    }
}

/// The same world with `KAMAL_DESTINATION` in its environment, or surely without.
pub(super) struct WithDestination<'a> {
    pub(super) world: &'a dyn World,
    pub(super) destination: Option<&'a str>,
}

impl World for WithDestination<'_> {
    fn env(&self, name: &str) -> Option<String> {
        if name == "KAMAL_DESTINATION" {
            return self.destination.map(str::to_owned);
        }
        self.world.env(name)
    }

    fn read_file(&self, path: &str) -> Result<Option<String>, String> {
        self.world.read_file(path)
    }

    fn run_command(&self, command: &str) -> Result<String, String> {
        self.world.run_command(command)
    }

    fn run_template_command(&self, command: &str) -> Result<String, String> {
        self.world.run_template_command(command)
    }

    fn run_secrets_command(&self, arguments: &[String]) -> Result<String, String> {
        self.world.run_secrets_command(arguments)
    }

    fn render_with_ruby(&self, file: &str, template: &str) -> Option<Result<String, String>> {
        self.world.render_with_ruby(file, template)
    }

    fn docker_architecture(&self) -> String {
        self.world.docker_architecture()
    }
}
