//! What a Dockerfile runs, as the shell gets it.

/// The scripts of all RUN instructions: lines joined, comments and mounts left out.
pub fn scripts(dockerfile: &str) -> Vec<String> {
    let mut joined = String::new();
    for line in dockerfile.lines().filter(|line| !line.trim_start().starts_with('#')) {
        if let Some(begun) = line.strip_suffix('\\') {
            joined.push_str(begun);
        } else {
            joined.push_str(line);
            joined.push('\n');
        }
    }
    let script = |line: &str| {
        let mut rest = line.strip_prefix("RUN ")?.trim();
        while rest.starts_with("--") {
            rest = rest.split_once(' ').map_or("", |(_, rest)| rest).trim_start();
        }
        Some(rest.to_owned())
    };
    joined.lines().filter_map(script).collect()
}

/// What would let a command fail unseen: whatever builds the image, for a SHELL instruction has no place in an image of the
/// OCI format and is left out there.
pub fn check(dockerfile: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if dockerfile.lines().any(|line| line.starts_with("SHELL ")) {
        problems.push("SHELL: is not obeyed everywhere; options of the shell belong into the RUN".to_owned());
    }
    for script in scripts(dockerfile) {
        if !script.starts_with("set -eu && ") {
            problems.push(format!("RUN {script}: does not begin with `set -eu && `"));
        }
    }
    problems
}
