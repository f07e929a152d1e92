//! Rendering an overlay by the program that people use for it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::object::Objects;

/// The root of the repository.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("this crate is two folders below the root").to_owned()
}

/// The names of all overlays, sorted.
pub fn overlays() -> Result<Vec<String>, String> {
    folders(&root().join("k8s/overlays"))
}

/// The names of a folder's folders, sorted.
pub fn folders(folder: &Path) -> Result<Vec<String>, String> {
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut names: Vec<_> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    Ok(names)
}

/// Renders an overlay with the `kubectl` that `scripts/k8s.sh install` has put below `.tael/k8s`, or the one on the
/// PATH.
pub fn render(overlay: &str) -> Result<Objects, String> {
    let root = root();
    let own = root.join(".tael/k8s/bin/kubectl");
    let kubectl = if own.exists() { own } else { PathBuf::from("kubectl") };
    let output = Command::new(&kubectl)
        .arg("kustomize")
        .arg(root.join("k8s/overlays").join(overlay))
        .output()
        .map_err(|error| format!("{}: {error}; run: scripts/k8s.sh install kubectl", kubectl.display()))?;
    if !output.status.success() {
        return Err(format!("overlay {overlay}: {}", String::from_utf8_lossy(&output.stderr)));
    }
    Objects::parse(&String::from_utf8_lossy(&output.stdout))
        .map_err(|error| format!("overlay {overlay}: {error}"))
}
