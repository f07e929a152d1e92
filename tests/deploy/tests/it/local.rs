//! `scripts/local.sh` on a machine that others use: whoever is not the owner gets at nothing.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tael_deploy_tests::render::root;

/// A PostgreSQL and a Redis of this test's own, stopped with the value.
struct Servers(PathBuf);

impl Servers {
    fn start() -> Self {
        let servers = Self(std::env::temp_dir().join(format!("tael-local-{}", std::process::id())));
        servers.script("start");
        servers
    }

    fn script(&self, command: &str) {
        let output = Command::new(root().join("scripts/local.sh"))
            .args([command])
            .args((command == "start").then_some("--disposable"))
            .arg(&self.0)
            .env_remove("TAEL_DATABASE_URL")
            .env_remove("TAEL_REDIS_URL")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// The value of a variable in the file `env`.
    fn variable(&self, name: &str) -> String {
        let env = fs::read_to_string(self.0.join("env")).unwrap();
        let start = format!("export {name}=");
        env.lines().find_map(|line| line.strip_prefix(&start)).expect("it is there").to_owned()
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.script("stop");
        drop(fs::remove_dir_all(fs::canonicalize(self.0.join("postgres")).unwrap_or_default()));
        drop(fs::remove_dir_all(&self.0));
    }
}

/// User, password and address of a URL.
fn parts(url: &str) -> (&str, &str, &str) {
    let (_, rest) = url.split_once("://").unwrap();
    let (credentials, rest) = rest.split_once('@').expect("the address has a password");
    let (user, password) = credentials.split_once(':').unwrap();
    (user, password, rest.split('/').next().unwrap())
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// What PostgreSQL asks of this user before anything else: the number of the kind of authentication; 0 when it asks for
/// nothing, 10 for SASL, which is SCRAM. (https://www.postgresql.org/docs/current/protocol-message-formats.html)
fn authentication(address: &str, user: &str) -> u32 {
    let mut stream = connect(address);
    let parameters = format!("user\0{user}\0database\0postgres\0\0");
    let length = u32::try_from(8 + parameters.len()).unwrap();
    let startup = [&length.to_be_bytes()[..], &196_608_u32.to_be_bytes(), parameters.as_bytes()].concat();
    stream.write_all(&startup).unwrap();
    let mut answer = [0; 9];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer[0], b'R', "no request for authentication: {answer:?}");
    u32::from_be_bytes([answer[5], answer[6], answer[7], answer[8]])
}

/// What Redis answers.
fn redis(address: &str, commands: &str) -> String {
    let mut stream = connect(address);
    stream.write_all(commands.as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn assert_closed(path: &Path) {
    let metadata = fs::metadata(path).unwrap();
    let mode = metadata.permissions().mode() & 0o077;
    assert_eq!(mode, 0, "{} is open to others: {mode:o}", path.display());
}

#[test]
fn another_user_of_the_machine_gets_into_neither_server() {
    let servers = Servers::start();
    let (database, redis_url) = (servers.variable("TAEL_DATABASE_URL"), servers.variable("TAEL_REDIS_URL"));

    let (owner, password, address) = parts(&database);
    for user in [owner, "postgres", "root", "nobody"] {
        assert_eq!(authentication(address, user), 10, "{user} is let in without SCRAM");
    }
    let (_, redis_password, redis_address) = parts(&redis_url);
    assert!(redis(redis_address, "PING\r\n").starts_with("-NOAUTH"));
    assert!(redis(redis_address, "AUTH 1234\r\nCONFIG GET dir\r\n").contains("-NOAUTH"));
    assert_eq!(redis(redis_address, &format!("AUTH {redis_password}\r\nPING\r\n")), "+OK\r\n+PONG\r\n");

    // The passwords are long, and lie where nobody else can look.
    assert!(password.len() >= 32 && redis_password.len() >= 32 && password != redis_password);
    for name in ["env", "postgres", "postgres/password", "postgres/data", "postgres/log"] {
        assert_closed(&servers.0.join(name));
    }
    for name in ["redis", "redis/password", "redis/conf", "redis/log"] {
        assert_closed(&servers.0.join(name));
    }
    // Everybody may look at the arguments of everybody's processes.
    for process in fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok) {
        let Ok(arguments) = fs::read(process.path().join("cmdline")) else { continue };
        let arguments = String::from_utf8_lossy(&arguments);
        assert!(!arguments.contains(password) && !arguments.contains(redis_password), "{arguments}");
    }

    // Kept data keep their password.
    servers.script("stop");
    servers.script("start");
    assert_eq!(parts(&servers.variable("TAEL_DATABASE_URL")).1, password);
    assert_eq!(parts(&servers.variable("TAEL_REDIS_URL")).1, redis_password);
}
