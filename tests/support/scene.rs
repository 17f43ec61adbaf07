//! Two servers on which releases come and go: what a deploy must stand is done to them.

use super::{
    found::{Found, completed, nothing_changed},
    project::{X_RUNNER, deploy_yml},
    servers::Sandbox,
    stub::{Ended, StubProject},
    traffic::Traffic,
};

/// The servers of these tests.
pub(crate) const ONE: u8 = 6;
/// The second one.
pub(crate) const TWO: u8 = 7;

/// A project with its servers, and what is on them.
pub(crate) struct Scene {
    pub(crate) sandbox: &'static Sandbox,
    pub(crate) project: StubProject,
    servers: Vec<u8>,
    /// The servers of `servers` that serve for the whole of the test.
    served: Vec<u8>,
    before: Option<Found>,
    traffic: Option<Traffic>,
}

impl Scene {
    /// Clean servers and a configuration for some of them.
    pub(crate) fn clean(servers: &[u8], more: &str) -> Self {
        let sandbox = Sandbox::up(&[ONE, TWO]);
        let text = deploy_yml(servers, more);
        let project = StubProject::of_pool(sandbox, "runner-tests-faults", &text);
        for server in [ONE, TWO] {
            sandbox.clean(server);
        }
        sandbox.stub("v2", &[]);
        Self {
            sandbox,
            project,
            servers: servers.to_vec(),
            served: servers.to_vec(),
            before: None,
            traffic: None,
        }
    }

    /// Servers on which release `v1` runs, under light load from now on.
    pub(crate) fn deployed(servers: &[u8], more: &str) -> Self {
        let mut scene = Self::clean(servers, more);
        scene.run(&["setup", "--version", "v1"]).expect(0);
        scene.look();
        scene
    }

    /// Leaves a server out that the configuration will lose: it is looked at, not asked.
    pub(crate) fn without_load_on(mut self, server: u8) -> Self {
        self.served.retain(|other| *other != server);
        self.look();
        self
    }

    /// The same with the usual configuration.
    pub(crate) fn usual(servers: &[u8]) -> Self {
        Self::deployed(servers, X_RUNNER)
    }

    /// Pushes a version that misbehaves.
    pub(crate) fn version(&self, version: &str, behaviour: &[&str]) {
        self.sandbox.stub(version, behaviour);
    }

    /// Runs the program.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        self.project.run(arguments)
    }

    /// Deploys a version.
    pub(crate) fn deploy(&self, version: &str) -> Ended {
        self.run(&["deploy", "--version", version])
    }

    /// Notes what is there, and begins to ask it.
    pub(crate) fn look(&mut self) {
        self.quiet();
        self.before = Some(Found::on(self.sandbox, &self.project, &self.servers));
        self.traffic = Some(Traffic::start(self.sandbox, &self.served));
    }

    /// Notes what is there without asking it: nothing serves.
    pub(crate) fn look_only(&mut self) {
        self.before = Some(Found::on(self.sandbox, &self.project, &self.servers));
    }

    /// Ends the load, of which nothing may be lost.
    #[track_caller]
    pub(crate) fn quiet(&mut self) {
        if let Some(traffic) = self.traffic.take() {
            traffic.nothing_lost();
        }
    }

    /// Everything is as it was noted; the load goes on.
    #[track_caller]
    pub(crate) fn unchanged(&self, ended: &Ended) {
        let now = Found::on(self.sandbox, &self.project, &self.servers);
        let before = self.before.as_ref().unwrap();
        nothing_changed(before, &now, &ended.text);
    }

    /// The release runs everywhere, and nothing else; what is there now is noted.
    #[track_caller]
    pub(crate) fn completed(&mut self, version: &str, ended: &Ended) {
        completed(self.sandbox, &self.served, version, &ended.text);
        self.look();
    }
}
