//! What images are built with and what Tilt's buttons run, played against stand-ins of the programs that they call.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tael_deploy_tests::dockerfile::{check, scripts};
use tael_deploy_tests::render::root;

/// A folder of this test's own, with programs that stand in for others; gone with the value.
struct Stage(PathBuf);

impl Stage {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("tael-deploy-{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(folder.join("bin")).unwrap();
        Self(folder)
    }

    fn program(&self, name: &str, script: &str) {
        let file = self.0.join("bin").join(name);
        fs::write(&file, format!("#!/bin/bash\nstage={}\n{script}\n", self.0.display())).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap_or_default()
    }

    /// A program of the repository, with the stand-ins before all others.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(root().join(program));
        let path = format!("{}:{}", self.0.join("bin").display(), std::env::var("PATH").unwrap());
        command.env("PATH", path).current_dir(&self.0).stdin(Stdio::null());
        command
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// Runs a script of a Dockerfile with /bin/sh and nothing else, as builders do that know no SHELL. Its programs only count
/// their calls; the one with the number `failing`, from 1, fails. Says how the script ended and how many were called.
fn build(stage: &Stage, script: &str, failing: usize) -> (bool, usize) {
    for program in ["cargo", "mkdir", "objcopy", "cp"] {
        stage.program(program, r#"echo >>"$stage/calls"; [ "$(wc -l <"$stage/calls")" != "$FAILING" ]"#);
    }
    drop(fs::remove_file(stage.0.join("calls")));
    let status = Command::new("/bin/sh")
        .args(["-c", script])
        .env("PATH", format!("{}:/usr/bin:/bin", stage.0.join("bin").display()))
        .env("FAILING", failing.to_string())
        .env("COMMIT", "abc")
        .env("SERVICE", "order")
        .current_dir(&stage.0)
        .status()
        .unwrap();
    (status.success(), stage.read("calls").lines().count())
}

#[test]
fn a_build_fails_with_whichever_of_its_commands_fails() {
    let stage = Stage::new("build");
    let dockerfile = fs::read_to_string(root().join("Dockerfile")).unwrap();
    let scripts = scripts(&dockerfile);
    assert_eq!(scripts.len(), 2, "{scripts:#?}");
    for script in &scripts {
        let (succeeds, calls) = build(&stage, script, 0);
        assert!(succeeds && calls > 0, "{script}");
        for failing in 1..=calls {
            let (succeeds, called) = build(&stage, script, failing);
            assert!(!succeeds, "command {failing} of {calls} fails and this does not: {script}");
            assert_eq!(called, failing, "it went on after command {failing}: {script}");
        }
    }
    // What it was: the compilation fails, the old binary is there, and the build is green.
    let (succeeds, _) = build(&stage, "cargo build; mkdir -p /out/bin; objcopy a b", 1);
    assert!(succeeds);
}

#[test]
fn every_run_says_itself_that_it_ends_when_a_command_fails() {
    for file in ["Dockerfile", "tilt/dev.Dockerfile"] {
        assert_eq!(check(&fs::read_to_string(root().join(file)).unwrap()), Vec::<String>::new(), "{file}");
    }
    let bad = "FROM a\nSHELL [\"/bin/bash\", \"-eu\", \"-c\"]\nRUN --mount=type=cache,target=/a \\\n    make; \\\n    cp a b\n";
    let found = check(bad);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].starts_with("SHELL: ") && found[1].starts_with("RUN make; "), "{found:#?}");
}

/// A cluster whose node has room for the services or for the migrations, and not for both.
const SMALL_CLUSTER: &str = r#"
echo "$*" >>"$stage/calls"
case "$*" in
  *' scale --replicas 0 '*) rm -f "$stage/services" ;;
  *' scale --replicas 1 '*) touch "$stage/services" ;;
  *' rollout restart '*) touch "$stage/services" ;;
  *' get job '*) if [ ! -e "$stage/services" ] && [ ! -e "$stage/failing" ]; then echo 'Complete '; fi ;;
  *' exec --stdin '*) cat >/dev/null ;;
esac
"#;

fn forget(stage: &Stage) -> Output {
    stage.program("kubectl", SMALL_CLUSTER);
    stage.program("tilt", r#"echo "tilt $*" >>"$stage/calls""#);
    fs::write(stage.0.join("services"), "").unwrap();
    stage.command("tilt/forget.sh").env("PATIENCE_SECONDS", "3").output().unwrap()
}

#[test]
fn to_forget_everything_the_services_make_room_for_the_migrations() {
    let stage = Stage::new("forget");
    let output = forget(&stage);
    assert!(output.status.success(), "{}", said(&output));
    let calls = stage.read("calls");
    let at = |what: &str| calls.find(what).unwrap_or_else(|| panic!("no {what:?} in\n{calls}"));
    for service in ["audit", "merchant", "order", "payment", "refund", "settlement", "notification"] {
        let triggered = at(&format!("tilt trigger migrate-{service}\n"));
        assert!(
            at("scale --replicas 0") < at("wait --for delete pod") && at("wait --for") < at("exec --stdin")
        );
        assert!(at("exec --stdin") < at("delete job") && at("delete job") < triggered, "{calls}");
        assert!(triggered < at(&format!("get job migrate-{service} ")), "{calls}");
        assert!(at(&format!("get job migrate-{service} ")) < at("scale --replicas 1"), "{calls}");
    }
    assert!(stage.0.join("services").exists());
}

#[test]
fn services_come_back_when_a_migration_is_never_done() {
    let stage = Stage::new("forget-in-vain");
    fs::write(stage.0.join("failing"), "").unwrap();
    let output = forget(&stage);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("migrate-audit is not done"), "{}", said(&output));
    assert!(stage.0.join("services").exists());
}

#[test]
fn a_configuration_that_is_wrong_is_told_at_once_and_what_ended_before_is_not() {
    let stage = Stage::new("configuration");
    // `kubectl get pods` says what the file holds.
    stage.program(
        "kubectl",
        r#"case "$*" in *' get pods '*) cat "$stage/pods" ;; *' logs '*) echo 'TAEL_LISTEN is not set' ;; esac"#,
    );
    let pods = stage.0.join("pods");
    let quiet = "order-1 order 3 2999-01-01T00:00:00Z\nold-1 order 2 2020-01-01T00:00:00Z\n";
    fs::write(&pods, quiet).unwrap();
    let mut command = stage.command("tilt/configuration.sh");
    let mut watch = command.arg("0.1").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(1) {
        assert!(watch.try_wait().unwrap().is_none(), "it ended without a reason");
        std::thread::yield_now();
    }
    fs::write(&pods, format!("{quiet}payment-1 payment 2 2999-01-01T00:00:00Z\n")).unwrap();
    let output = watch.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = said(&output);
    assert!(said.contains("payment-1") && said.contains("TAEL_LISTEN is not set"), "{said}");
}

/// Runs tilt/image.sh on a folder; returns the reference that Tilt reads.
fn image(stage: &Stage, folder: &Path) -> String {
    let output = stage
        .command("tilt/image.sh")
        .arg(r#"[ "$EXPECTED_REF" = "$EXPECTED_IMAGE:$EXPECTED_TAG" ] && echo "$EXPECTED_REF" >>made"#)
        .env("IMAGE", "tael/order")
        .env("CONTEXT", folder)
        .env("DOCKERFILE", root().join("tilt/dev.Dockerfile"))
        .env("BASE", "debian")
        .env("REF_FILE", stage.0.join("refs/order"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    stage.read("refs/order").trim().to_owned()
}

#[test]
fn an_imported_image_has_another_tag_only_when_its_content_is_another() {
    let stage = Stage::new("image");
    let folder = stage.0.join("order");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("service"), "one").unwrap();
    let first = image(&stage, &folder);
    assert!(first.starts_with("tael/order:content-"), "{first}");
    fs::remove_file(folder.join("service")).unwrap();
    fs::write(folder.join("service"), "one").unwrap(); // at another time
    assert_eq!(image(&stage, &folder), first);
    fs::write(folder.join("service"), "two").unwrap();
    let second = image(&stage, &folder);
    assert_ne!(second, first);
    assert_eq!(stage.read("made"), format!("{first}\n{first}\n{second}\n"));
}

#[test]
fn tilt_ci_audits_the_merchants_of_its_own_journey() {
    let stage = Stage::new("audit");
    // The command line in a folder of its own, where the journey has left the ids of its merchants.
    stage.program("tael", r#"echo "$*" >>"$stage/calls"; [ "$5" != "$FAILING" ]"#);
    fs::create_dir_all(stage.0.join("tilt")).unwrap();
    fs::copy(root().join("tilt/audit.sh"), stage.0.join("tilt/audit.sh")).unwrap();
    fs::create_dir_all(stage.0.join(".tael/tilt")).unwrap();
    fs::create_dir_all(stage.0.join("target")).unwrap();
    fs::rename(stage.0.join("bin"), stage.0.join("target/debug")).unwrap();
    let audit = |failing: &str| {
        let mut command = Command::new(stage.0.join("tilt/audit.sh"));
        command
            .args(["debug", "http://s"])
            .env("FAILING", failing)
            .env("CARGO_TARGET_DIR", stage.0.join("target"));
        command.output().unwrap()
    };
    fs::write(stage.0.join(".tael/tilt/merchants"), "mer_a\nmer_b\n").unwrap();
    assert!(audit("").status.success());
    let expected =
        ["mer_a", "mer_b"].map(|id| format!("audit --audit http://s --merchant {id} --statements-so-far\n"));
    assert_eq!(stage.read("calls"), expected.concat());
    assert!(!audit("mer_a").status.success() && !audit("mer_b").status.success());
    fs::write(stage.0.join(".tael/tilt/merchants"), "").unwrap();
    assert_eq!(audit("").status.code(), Some(2));
}
