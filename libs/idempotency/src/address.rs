//! Where Redis is: at one address, or wherever its sentinels say that the master is.

use std::fmt;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo as _,
    RedisConnectionInfo, RedisError, RedisResult, ServerErrorKind, Value,
};

/// The schemes of an address by sentinels, and those of the servers behind them.
const SENTINEL_SCHEMES: [(&str, &str); 2] =
    [("redis-sentinel://", "redis"), ("rediss-sentinel://", "rediss")];
const SENTINEL_PORT: u16 = 26379;

/// Where to find the server that takes writes.
#[derive(Clone)]
pub(crate) enum Address {
    /// `redis://` or `rediss://` (TLS): one server, or a name that leads to whichever is the master.
    Server(Client),
    /// `redis-sentinel://[user:password@]host[:port][,host[:port]…]/master[/db]`, or `rediss-sentinel://` with TLS to
    /// sentinels and servers. User and password are the servers', and the sentinels' if those ask for any.
    Sentinels(Sentinels),
}

#[derive(Clone)]
pub(crate) struct Sentinels {
    hosts: Vec<ConnectionInfo>,
    /// Under which name the sentinels watch the servers.
    master: String,
    /// How to greet a server.
    settings: RedisConnectionInfo,
}

/// Without user and password.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(client) => write!(f, "{}", client.get_connection_info().addr()),
            Self::Sentinels(sentinels) => {
                let addrs: Vec<_> = sentinels.hosts.iter().map(|info| info.addr().to_string()).collect();
                write!(f, "{} by {}", sentinels.master, addrs.join(", "))
            }
        }
    }
}

impl Address {
    pub(crate) fn parse(url: &str) -> RedisResult<Self> {
        for (scheme, server_scheme) in SENTINEL_SCHEMES {
            if let Some(rest) = url.strip_prefix(scheme) {
                return Sentinels::parse(server_scheme, rest).map(Self::Sentinels);
            }
        }
        Ok(Self::Server(Client::open(url.into_connection_info()?.set_tcp_settings(tcp()))?))
    }

    pub(crate) fn db(&self) -> i64 {
        match self {
            Self::Server(client) => client.get_connection_info().redis_settings().db(),
            Self::Sentinels(sentinels) => sentinels.settings.db(),
        }
    }

    pub(crate) async fn connect(&self, config: &AsyncConnectionConfig) -> RedisResult<MultiplexedConnection> {
        match self {
            Self::Server(client) => client.get_multiplexed_async_connection_with_config(config).await,
            Self::Sentinels(sentinels) => sentinels.connect(config).await,
        }
    }
}

impl Sentinels {
    fn parse(scheme: &str, rest: &str) -> RedisResult<Self> {
        let wrong = |what| RedisError::from((ErrorKind::InvalidClientConfig, what));
        let (authority, path) = rest.split_once('/').ok_or_else(|| wrong("the master's name is missing"))?;
        let (master, db) = path.split_once('/').unwrap_or((path, "0"));
        if master.is_empty() || master.contains(['?', '#']) {
            return Err(wrong("the master's name is missing"));
        }
        let (user, names) = authority.rsplit_once('@').unwrap_or(("", authority));
        let servers = names
            .split(',')
            .map(|host| {
                // Brackets are an IPv6 address's; a colon behind them, or without them, precedes a port.
                let has_port = host.rsplit(']').next().is_some_and(|end| end.contains(':'));
                let port = if has_port { String::new() } else { format!(":{SENTINEL_PORT}") };
                format!("{scheme}://{user}@{host}{port}/{db}").into_connection_info()
            })
            .collect::<RedisResult<Vec<_>>>()?;
        let settings = servers.first().ok_or_else(|| wrong("no sentinel"))?.redis_settings().clone();
        let hosts = servers
            .into_iter()
            .map(|info| {
                let settings = info.redis_settings().clone().set_db(0);
                info.set_redis_settings(settings).set_tcp_settings(tcp())
            })
            .collect();
        Ok(Self { hosts, master: master.to_owned(), settings })
    }

    /// Asks all sentinels at once, for some may be away, or yet to hear of a new master, and takes the first connection
    /// to a server that is one.
    async fn connect(&self, config: &AsyncConnectionConfig) -> RedisResult<MultiplexedConnection> {
        let mut found: FuturesUnordered<_> =
            self.hosts.iter().map(|sentinel| self.connect_by(sentinel, config)).collect();
        let mut last = RedisError::from((ErrorKind::InvalidClientConfig, "no sentinel"));
        while let Some(result) = found.next().await {
            match result {
                Ok(connection) => return Ok(connection),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn connect_by(
        &self,
        sentinel: &ConnectionInfo,
        config: &AsyncConnectionConfig,
    ) -> RedisResult<MultiplexedConnection> {
        // Most sentinels ask for no password, and refuse one then.
        let stranger = RedisConnectionInfo::default();
        let master = match self.ask(sentinel.clone().set_redis_settings(stranger), config).await {
            Err(error) if is_password_wanted(&error) => self.ask(sentinel.clone(), config).await?,
            master => master?,
        };
        let Some((host, port)) = master else {
            return Err(RedisError::from((
                ErrorKind::InvalidClientConfig,
                "the sentinel knows no such master",
                self.master.clone(),
            )));
        };
        let addr = match sentinel.addr() {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
                ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: tls_params.clone() }
            }
            _ => ConnectionAddr::Tcp(host, port),
        };
        let info = sentinel.clone().set_addr(addr).set_redis_settings(self.settings.clone());
        let mut connection = Client::open(info)?.get_multiplexed_async_connection_with_config(config).await?;
        // One that was demoted, or comes back from the dead, may be known as the master for a while.
        let role: Vec<Value> = redis::cmd("ROLE").query_async(&mut connection).await?;
        match role.first() {
            Some(Value::BulkString(name)) if name == b"master" => Ok(connection),
            _ => Err(RedisError::from((
                ErrorKind::Server(ServerErrorKind::ReadOnly),
                "the server is not the master yet",
            ))),
        }
    }

    async fn ask(
        &self,
        sentinel: ConnectionInfo,
        config: &AsyncConnectionConfig,
    ) -> RedisResult<Option<(String, u16)>> {
        let mut connection =
            Client::open(sentinel)?.get_multiplexed_async_connection_with_config(config).await?;
        redis::cmd("SENTINEL")
            .arg("GET-MASTER-ADDR-BY-NAME")
            .arg(&self.master)
            .query_async(&mut connection)
            .await
    }
}

fn is_password_wanted(error: &RedisError) -> bool {
    matches!(error.code(), Some("NOAUTH" | "NOPERM")) || error.kind() == ErrorKind::AuthenticationFailed
}

fn tcp() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentinels(url: &str) -> Sentinels {
        match Address::parse(url).unwrap() {
            Address::Sentinels(sentinels) => sentinels,
            Address::Server(_) => panic!("{url} is no address by sentinels"),
        }
    }

    #[test]
    fn an_address_by_sentinels_names_them_and_the_master() {
        let found = sentinels("redis-sentinel://tael:p%40ss@one,two:26380,[::1],[::1]:7/mymaster/3");
        assert_eq!(found.master, "mymaster");
        let addrs: Vec<_> = found.hosts.iter().map(|info| info.addr().to_string()).collect();
        assert_eq!(addrs, ["one:26379", "two:26380", "::1:26379", "::1:7"]);
        assert_eq!((found.settings.username(), found.settings.password()), (Some("tael"), Some("p@ss")));
        assert_eq!(found.settings.db(), 3);
        for info in &found.hosts {
            assert_eq!((info.redis_settings().password(), info.redis_settings().db()), (Some("p@ss"), 0));
        }

        let plain = sentinels("redis-sentinel://one/mymaster");
        assert_eq!(
            (plain.settings.username(), plain.settings.password(), plain.settings.db()),
            (None, None, 0)
        );
        let tls = sentinels("rediss-sentinel://one/mymaster");
        assert!(matches!(tls.hosts[0].addr(), ConnectionAddr::TcpTls { insecure: false, .. }));
    }

    #[test]
    fn secrets_are_not_shown() {
        for url in
            ["redis-sentinel://tael:hush@one/mymaster", "redis://tael:hush@one", "rediss://tael:hush@one"]
        {
            let shown = format!("{:?}", Address::parse(url).unwrap());
            assert!(shown.contains("one") && !shown.contains("hush"), "{shown}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for bad in [
            "postgres://somewhere",
            "redis-sentinel://one",
            "redis-sentinel://one/",
            "redis-sentinel://one//0",
            "redis-sentinel:///mymaster",
            "redis-sentinel://one,,two/mymaster",
            "redis-sentinel://one:port/mymaster",
            "redis-sentinel://one/mymaster/zero",
        ] {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
    }
}
