/// The sandbox is worth something only while it shares nothing with the adapter that is tested against it.
#[test]
fn no_other_crate_of_the_workspace_is_used() {
    let manifest = include_str!("../../Cargo.toml");
    let ours: Vec<_> =
        manifest.lines().filter(|line| line.starts_with("tael-") || line.contains("path =")).collect();
    assert!(ours.is_empty(), "{ours:?}");
    assert!(manifest.contains("\naxum.workspace"), "the manifest is written as this test reads it");
}
