//! `runner doctor` as a process.

use crate::support::process::Test;

const PROJECT: &str = "service: shop\nimage: acme/shop\nservers: [10.0.0.1]\n\
                       registry: {username: bot, password: [TOKEN]}\nbuilder: {arch: amd64}\n\
                       ssh: {port: 2121, keys: [config/key]}\n\
                       accessories: {db: {image: 'postgres:15', host: 10.0.0.1, port: '127.0.0.1:5433:5432'}}\n";

/// A record of the server; the key is a real one in form.
const KNOWN: &str = "[10.0.0.1]:2121 ssh-ed25519 \
                     AAAAC3NzaC1lZDI1NTE5AAAAIPIv0B1bTC4dZK1y0s0oKJxW3Y0Yw8d2b0q1eT1m2QbX\n";

/// A project of which nothing bad can be said.
fn sound() -> Test {
    let test = Test::new()
        .file("config/deploy.yml", PROJECT)
        .file("config/key", "a key")
        .file(".kamal/secrets", "TOKEN=$FROM_CI\n")
        .file("Dockerfile", "FROM scratch\n")
        .file(".dockerignore", ".env*\n")
        .file("home/.ssh/known_hosts", KNOWN)
        .env("FROM_CI", "hunter2");
    let home = test.path().join("home").display().to_string();
    test.env("HOME", &home).args(&["doctor"])
}

#[test]
fn a_sound_project_passes_and_no_secret_is_shown() {
    let answer = sound().commit().run();
    answer.code(0);
    answer.says("0 errors, 0 warnings");
    assert!(!answer.out.contains("hunter2"));
}

#[test]
fn a_missing_secret_is_named_with_who_needs_it() {
    let answer = sound().file(".kamal/secrets", "").run();
    answer.code(3);
    answer.says("Secret 'TOKEN' not found in .kamal/secrets, needed by `registry`");
}

#[test]
fn files_with_values_belong_neither_into_git_nor_into_the_image() {
    let test = sound()
        .file(".env.production", "A=1\n")
        .file(".dockerignore", "")
        .commit();
    let answer = test.run();
    answer.code(0).says("0 errors, 2 warnings");
    answer
        .says("`.env.production` holds secrets and is tracked by git")
        .says("`.env.production` holds secrets and goes into the image");
}

#[test]
fn a_port_that_all_can_reach_is_a_warning() {
    let open = PROJECT.replace("127.0.0.1:5433", "5433");
    let answer = sound().file("config/deploy.yml", &open).run();
    answer.code(0);
    answer.says("port `5433:5432` of `db` is published on all interfaces");
}

#[test]
fn a_server_that_is_not_known_and_a_key_that_is_not_there_are_this_machines_fault() {
    let elsewhere = PROJECT
        .replace("[config/key]", "[config/other]")
        .replace("2121", "2222");
    let answer = sound().file("config/deploy.yml", &elsewhere).run();
    answer.code(5);
    answer
        .says("key `config/other` is not there")
        .says("server `[10.0.0.1]:2222` is not in known_hosts");
}

#[test]
fn what_cannot_be_carried_out_is_an_error() {
    let more = format!("{PROJECT}volumes: ['$DATA:/data']\n");
    sound()
        .file("config/deploy.yml", &more)
        .run()
        .code(3)
        .says("$DATA:/data");
}
