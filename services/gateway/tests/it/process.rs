//! The binary itself.

use std::process::Command;

#[test]
fn there_is_nothing_to_migrate() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_tael-gateway")).arg("migrate").env_clear().output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.contains("there is no database"), "{complaint}");
}
