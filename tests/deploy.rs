//! Deploys of the stub application to real servers.

use std::sync::{Arc, Mutex};

use runner::{
    deploy::{self, Begin, Ending, Event, Progress, Transaction},
    release::{Kind, Phase, from_kamal},
};
use tokio_util::sync::CancellationToken;

use crate::support::{
    project::{X_RUNNER, config, deploy_yml, settings, spec},
    servers::Sandbox,
};

/// Keeps what was told, and prints it for whoever looks at a failure.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Progress for Told {
    fn tell(&self, event: Event) {
        let line = match event {
            Event::Did { op, took } => format!("did {op} in {} ms", took.as_millis()),
            Event::Failed { op, reason, .. } => format!("failed {op}: {reason}"),
            other => format!("{other:?}"),
        };
        println!("{line}");
        self.0.lock().unwrap().push(line);
    }
}

#[tokio::test]
async fn a_release_is_set_up_deployed_and_replaced() {
    let sandbox = Sandbox::up(&[3, 4]);
    sandbox.clean(3);
    let settings = settings(sandbox);
    let config = config(&deploy_yml(&[3], X_RUNNER));
    let told = Arc::new(Told::default());
    let (cancel, force) = (CancellationToken::new(), CancellationToken::new());
    let first = spec(&config, "v1");
    let look = deploy::look(&first, &settings).await;
    for proxy in from_kamal::proxies(&config, None).unwrap() {
        let host = look.fleet.host(&proxy.container.host).unwrap();
        host.boot_proxy(&proxy, &settings, false).await.unwrap();
    }
    for version in ["v1", "v2"] {
        let start = std::time::Instant::now();
        let begin = Begin::new(Kind::Deploy);
        let opened = deploy::open(
            spec(&config, version),
            begin,
            settings.clone(),
            told.clone(),
            &cancel,
        );
        let mut transaction: Transaction = opened.await.unwrap();
        transaction.advance_to(Phase::Baked, &cancel).await.unwrap();
        let (ending, error) = transaction.finish(&cancel, &force).await;
        assert!(error.is_none(), "{error:?}");
        assert_eq!(ending, Ending::Succeeded);
        println!("{version}: {} ms", start.elapsed().as_millis());
    }
}
