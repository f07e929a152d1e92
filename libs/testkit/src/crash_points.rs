//! Are a service's crash points where its list says?

use std::path::Path;

/// Demands that the crash points in a crate's sources are those listed, each once.
///
/// # Panics
///
/// When they are not.
pub fn assert_crash_points(manifest_dir: &str, listed: &[&str]) {
    let mut text = String::new();
    read_sources(&Path::new(manifest_dir).join("src"), &mut text);
    let mut used: Vec<&str> = text
        .split("crash_point(\"")
        .skip(1)
        .filter_map(|rest| rest.split_once('"'))
        .map(|(name, _)| name)
        .collect();
    let mut listed = listed.to_vec();
    used.sort_unstable();
    listed.sort_unstable();
    assert_eq!(used, listed);
}

fn read_sources(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).expect("a crate has sources") {
        let path = entry.expect("a crate's sources can be listed").path();
        if path.is_dir() {
            read_sources(&path, text);
        } else {
            text.push_str(&std::fs::read_to_string(path).expect("a source is text"));
        }
    }
}
