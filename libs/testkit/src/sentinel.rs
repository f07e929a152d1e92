//! Redis with a replica, watched by sentinels.

use secrecy::SecretString;

use crate::{RedisServer, eventually};

/// Under which name the sentinels know the master.
const MASTER: &str = "mymaster";

/// A master, its replica, and three sentinels that promote the replica soon after the master has fallen silent.
#[derive(Debug)]
pub struct RedisSentinels {
    /// The server that is the master at first.
    pub master: RedisServer,
    /// The one that is its replica at first.
    pub replica: RedisServer,
    sentinels: Vec<RedisServer>,
}

impl RedisSentinels {
    /// Starts all of them, and waits until a failover could happen.
    pub async fn start() -> Self {
        let master = RedisServer::start().await;
        let replicaof = ["--replicaof", "127.0.0.1", &master.port().to_string()].map(str::to_owned);
        let replica = RedisServer::start_with(replicaof.to_vec(), "").await;
        eventually("the replica to follow", async || {
            replica.ask("INFO replication").await.ok()?.contains("master_link_status:up").then_some(())
        })
        .await;
        let configuration = format!(
            "sentinel monitor {MASTER} 127.0.0.1 {} 2\n\
             sentinel down-after-milliseconds {MASTER} 500\n\
             sentinel failover-timeout {MASTER} 3000\n",
            master.port()
        );
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            sentinels.push(RedisServer::start_with(vec!["--sentinel".to_owned()], &configuration).await);
        }
        for sentinel in &sentinels {
            eventually("the sentinels to know one another", async || {
                let knows = sentinel.ask("INFO sentinel").await.ok()?;
                knows.contains("status=ok").then_some(())?;
                knows.contains("slaves=1,sentinels=3").then_some(())
            })
            .await;
        }
        Self { master, replica, sentinels }
    }

    /// Returns their address, as of a client that asks the sentinels.
    pub fn url(&self) -> SecretString {
        let hosts: Vec<_> =
            self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port())).collect();
        format!("redis-sentinel://{}/{MASTER}", hosts.join(",")).into()
    }

    /// Tells them to promote the replica although the master is well.
    pub async fn fail_over(&self) {
        let answer = self.sentinels[0].ask(&format!("SENTINEL FAILOVER {MASTER}")).await;
        assert_eq!(answer.expect("it is there"), "+OK\r\n");
    }
}
