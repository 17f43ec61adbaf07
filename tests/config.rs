//! `runner config` and `runner secrets` as processes.

use crate::support::process::Test;

const SMALL: &str = "service: shop\nimage: acme/shop\nservers: [10.0.0.1]\n\
                     registry: {username: bot, password: [TOKEN]}\nbuilder: {arch: amd64}\n\
                     env: {clear: {PLAIN: yes}, secret: [KEY]}\n";

fn project() -> Test {
    Test::new()
        .file("config/deploy.yml", SMALL)
        .file(
            ".kamal/secrets",
            "TOKEN=hunter2\nKEY=$(printf 'a%s' $FROM)\n",
        )
        .env("FROM", "b")
}

#[test]
fn values_of_secrets_are_shown_only_where_that_is_asked_for() {
    let hidden = project().args(&["config", "--version", "v1"]).run();
    hidden.code(0);
    assert!(!hidden.out.contains("hunter2") && hidden.out.contains("KEY=[REDACTED]"));
    let arguments = [
        "config",
        "--version",
        "v1",
        "--reveal-secrets",
        "--format",
        "json",
    ];
    let shown: serde_json::Value =
        serde_json::from_str(&project().args(&arguments).run().code(0).out).unwrap();
    assert_eq!(shown["registry"]["password"], "hunter2");
    assert_eq!(
        shown["roles"][0]["perHost"]["10.0.0.1"]["envFile"],
        "KEY=ab\n"
    );
    assert_eq!(shown["absoluteImage"], "acme/shop:v1");
}

#[test]
fn the_version_is_the_commit_where_none_is_named() {
    let test = project().commit().args(&["config"]);
    let commit = test.git(&["rev-parse", "HEAD"]);
    test.run().code(0).says(&commit);
    project()
        .args(&["config"])
        .run()
        .code(3)
        .complains("no git repository");
    let named = project().env("VERSION", "v7").args(&["config"]);
    named.run().code(0).says("shop:v7");
}

#[test]
fn a_configuration_that_is_wrong_is_refused_with_its_place() {
    let test = Test::new().file("config/deploy.yml", &SMALL.replace("servers", "server"));
    let answer = test.args(&["config", "--version", "v1"]).run();
    answer.code(3);
    answer
        .complains("unknown key: server")
        .complains("did you mean `servers`?");
}

#[test]
fn secrets_are_printed_and_extracted() {
    let printed = project().args(&["secrets", "print"]).run();
    printed.code(0);
    assert_eq!(printed.out, "TOKEN=hunter2\nKEY=ab\n");
    let arguments = ["secrets", "extract", "A", r#"{"vault/A": "one"}"#];
    let extracted = Test::new().args(&arguments).run();
    extracted.code(0);
    assert_eq!(extracted.out, "one\n");
}

#[test]
fn an_alias_stands_for_a_command_line() {
    let test = Test::new()
        .file(
            "config/deploy.yml",
            "service: shop\nimage: shop\nservers: [192.0.2.1]\nregistry: { server: registry.test, username: u, password: [P] }\nbuilder: { arch: amd64 }\naliases:\n  keys: secrets fetch --adapter test --account a\n",
        )
        .args(&["keys", "--from", "vault", "abc"]);
    assert_eq!(test.run().code(0).out, "{\"vault/abc\":\"cba/tluav\"}\n");
    test.args(&["kesy"]).run().code(2).complains("kesy");
}

#[test]
fn a_secrets_file_fetches_from_a_password_manager() {
    let doppler = "#!/bin/sh\nprintf '{\"TOKEN\":{\"computed\":\"from %s\"}}' \"$6\"\n";
    let path = std::env::var("PATH").unwrap();
    let test = Test::new()
        .file("bin/doppler", doppler)
        .file(
            "config/deploy.yml",
            "service: shop\nimage: shop\nservers: [192.0.2.1]\nregistry: { server: registry.test, username: u, password: [P] }\nbuilder: { arch: amd64 }\n",
        )
        .file(
            ".kamal/secrets",
            "ALL=$(kamal secrets fetch --adapter doppler --from shop/prd TOKEN)\nTOKEN=$(kamal secrets extract TOKEN $ALL)\n",
        );
    let bin = format!("{}:{path}", test.path().join("bin").display());
    test.env("PATH", &bin)
        .args(&["secrets", "print"])
        .run()
        .code(0)
        .says("TOKEN=from shop");
}
