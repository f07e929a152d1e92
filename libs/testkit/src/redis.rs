//! A Redis of a test's own, to do harm to.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use secrecy::SecretString;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use crate::PATIENCE;

/// Below the ports that Linux gives to outgoing connections, so that none of those takes ours while the server is down.
const FIRST_PORT: u16 = 20_000;
const PORTS: u16 = 12_000;
/// The name of the server's own file, in its folder.
const CONFIGURATION: &str = "redis.conf";

/// A `redis-server` on a port of 127.0.0.1 and in a folder of its own; killed, and the folder removed, with the value.
///
/// It keeps everything in memory: one that is restarted is empty, as a replica would be that had heard of nothing.
#[derive(Debug)]
pub struct RedisServer {
    port: u16,
    folder: PathBuf,
    arguments: Vec<String>,
    child: Child,
}

impl RedisServer {
    /// Starts one and waits until it answers.
    pub async fn start() -> Self {
        Self::start_with(Vec::new(), "").await
    }

    /// Starts one with further arguments, and a file of configuration that it may write to, as a sentinel does.
    pub(crate) async fn start_with(arguments: Vec<String>, configuration: &str) -> Self {
        crate::logs();
        let folder = std::env::temp_dir().join(format!("tael-redis-{}", Uuid::new_v4().simple()));
        std::fs::create_dir(&folder).expect("a test may create folders");
        std::fs::write(folder.join(CONFIGURATION), configuration).expect("a test may write files");
        let port = free_port();
        let child = spawn(port, &folder, &arguments);
        let server = Self { port, folder, arguments, child };
        server.until_it_answers().await;
        server
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Returns its address, the same as long as the value lives.
    pub fn url(&self) -> SecretString {
        format!("redis://127.0.0.1:{}", self.port).into()
    }

    /// Ends it at once (SIGKILL): its connections break, and new ones are refused.
    pub fn kill(&mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a killed child ends");
    }

    /// Starts it again at the same address, empty, after [`kill`](Self::kill) or in place of the running one; waits until
    /// it answers.
    pub async fn restart(&mut self) {
        self.kill();
        self.child = spawn(self.port, &self.folder, &self.arguments);
        self.until_it_answers().await;
    }

    /// Lets it hang (SIGSTOP): connections stay, and are accepted, but nothing is answered. It must not be killed.
    pub fn hang(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets one that hangs go on (SIGCONT); it then answers what it was asked meanwhile.
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    /// Empties it: keys and scripts.
    pub async fn flush(&self) {
        for command in ["FLUSHALL", "SCRIPT FLUSH"] {
            let answer = timeout(PATIENCE, self.ask(command)).await.expect("it does not hang");
            assert_eq!(answer.expect("it is there"), "+OK\r\n");
        }
    }

    /// Returns how many keys it has.
    pub async fn keys(&self) -> usize {
        let answer = self.ask("DBSIZE").await.expect("it is there");
        answer.trim().trim_start_matches(':').parse().expect("a number")
    }

    /// Says whether it takes writes, as no replica does.
    pub async fn is_master(&self) -> bool {
        self.ask("INFO replication").await.is_ok_and(|answer| answer.contains("role:master"))
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a child can be signalled");
    }

    async fn until_it_answers(&self) {
        let give_up = Instant::now() + PATIENCE;
        while !self.ask("PING").await.is_ok_and(|answer| answer == "+PONG\r\n") {
            assert!(Instant::now() < give_up, "redis-server does not answer on port {}", self.port);
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Asks in the inline form of the protocol and returns the answer as it comes.
    pub(crate) async fn ask(&self, command: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await?;
        stream.write_all(format!("{command}\r\n").as_bytes()).await?;
        // It closes when it has answered, as a sentinel does not when it is told to QUIT.
        stream.shutdown().await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let killed = self.child.kill().and_then(|()| self.child.wait());
        if killed.and_then(|_| std::fs::remove_dir_all(&self.folder)).is_err() {
            eprintln!("the Redis of the test in {} was not removed", self.folder.display());
        }
    }
}

fn free_port() -> u16 {
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let random =
        || FIRST_PORT + u16::try_from(Uuid::new_v4().as_u128() % u128::from(PORTS)).expect("below PORTS");
    std::iter::repeat_with(random).take(100).find(is_free).expect("of a hundred ports one is free")
}

fn spawn(port: u16, folder: &Path, arguments: &[String]) -> Child {
    Command::new("redis-server")
        .arg(folder.join(CONFIGURATION))
        .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no"])
        .arg("--dir")
        .arg(folder)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is installed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_can_be_flushed_and_killed_and_comes_back_empty() {
        let mut server = RedisServer::start().await;
        assert_eq!(server.ask("SET a 1").await.unwrap(), "+OK\r\n");
        assert_eq!(server.keys().await, 1);
        server.flush().await;
        assert_eq!(server.keys().await, 0);
        server.ask("SET a 1").await.unwrap();
        server.kill();
        assert!(server.ask("PING").await.is_err());
        server.restart().await;
        assert_eq!(server.keys().await, 0);
    }

    #[tokio::test]
    async fn it_can_hang_and_go_on() {
        let server = RedisServer::start().await;
        server.hang();
        let asking = server.ask("PING");
        tokio::pin!(asking);
        assert!(timeout(Duration::from_millis(50), &mut asking).await.is_err());
        server.go_on();
        assert_eq!(timeout(PATIENCE, asking).await.unwrap().unwrap(), "+PONG\r\n");
    }

    #[tokio::test]
    async fn it_ends_with_the_value() {
        let server = RedisServer::start().await;
        let (port, folder) = (server.port, server.folder.clone());
        server.hang();
        drop(server);
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err());
        assert!(!folder.exists());
    }
}
