//! The command line as a shell has it: pipes that break, services given by name.

use std::process::{Command, Stdio};

use tokio::net::TcpListener;

use crate::Watch;

fn tael() -> Command {
    Command::new(env!("CARGO_BIN_EXE_tael"))
}

/// The end of a pipe that nobody reads from.
fn broken_pipe() -> std::io::PipeWriter {
    std::io::pipe().expect("the system has pipes").1
}

#[tokio::test]
async fn who_reads_may_go_away_before_the_end() {
    let watch = Watch::start().await;
    watch.journey().await;
    for (id, closes_stdout) in [("pay_of_this", true), ("pay_of_nobody", false)] {
        let mut command = tael();
        command.args(["trace", id, "--viewer", &watch.viewer.url()]);
        if closes_stdout {
            command.stdout(broken_pipe()).stderr(Stdio::piped());
        } else {
            command.stdout(Stdio::piped()).stderr(broken_pipe());
        }
        let child = command.spawn().expect("it runs");
        let output = tokio::task::spawn_blocking(|| child.wait_with_output()).await.unwrap().unwrap();
        // As a shell reports of other programs in this place; a panic would be 101.
        assert_eq!(output.status.code(), Some(141), "{id}: {output:?}");
        assert!(output.stderr.is_empty() && output.stdout.is_empty(), "{output:?}");
    }
}

#[tokio::test]
async fn bench_takes_a_running_platform_by_the_names_of_its_services() {
    let service = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let by_name = format!("localhost:{}", service.local_addr().unwrap().port());
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_tael"));
    command.arg("bench").kill_on_drop(true).stdout(Stdio::null()).stderr(Stdio::piped());
    for name in [
        "merchant",
        "order",
        "payment",
        "refund",
        "settlement",
        "notification",
        "audit",
        "gateway",
        "sandbox",
    ] {
        command.args([&format!("--{name}"), &by_name]);
    }
    let child = command.spawn().unwrap();
    tokio::select! {
        called = service.accept() => drop(called.unwrap()),
        output = child.wait_with_output() => panic!("it called nobody: {:?}", output.unwrap()),
    }
}
