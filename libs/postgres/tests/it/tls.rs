//! The way to the server is encrypted, and the server is who it says.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use secrecy::{ExposeSecret as _, SecretString};
use tael_testkit::TestDatabase;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use url::Url;
use uuid::Uuid;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Stands before the server of the tests, and speaks TLS as `name`; returns the port.
async fn encrypted(database: &TestDatabase, authority: &Authority, name: &str) -> u16 {
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, authority).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from(certificate.der().to_vec())],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let url: Url = database.url().expose_secret().parse().unwrap();
    let server: Vec<SocketAddr> = url.socket_addrs(|| Some(5432)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (acceptor, server) = (acceptor.clone(), server[0]);
            tokio::spawn(async move {
                // SSLRequest (PostgreSQL manual, "message formats"), and the consent.
                let mut request = [0; 8];
                client.read_exact(&mut request).await?;
                assert_eq!(request, [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);
                client.write_all(b"S").await?;
                let mut client = acceptor.accept(client).await?;
                copy_bidirectional(&mut client, &mut TcpStream::connect(server).await?).await
            });
        }
    });
    port
}

/// The database's address at `localhost`, with everything checked.
fn verified(database: &TestDatabase, port: u16, root: &Authority) -> (SecretString, Root) {
    let file = std::env::temp_dir().join(format!("tael-root-{}.pem", Uuid::new_v4().simple()));
    std::fs::write(&file, root.pem()).unwrap();
    let mut url: Url = database.url().expose_secret().parse().unwrap();
    url.set_host(Some("localhost")).unwrap();
    url.set_port(Some(port)).unwrap();
    url.query_pairs_mut()
        .append_pair("sslmode", "verify-full")
        .append_pair("sslrootcert", file.to_str().unwrap());
    (url.as_str().into(), Root(file))
}

/// Removes the file with the value.
struct Root(PathBuf);

impl Drop for Root {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

#[tokio::test]
async fn a_server_must_be_who_its_certificate_says_and_the_certificate_must_be_trusted() {
    let database = TestDatabase::create().await;
    let (ours, strangers) = (authority(), authority());
    let right = encrypted(&database, &ours, "localhost").await;
    let misnamed = encrypted(&database, &ours, "elsewhere").await;

    let (url, _root) = verified(&database, right, &ours);
    let pool = tael_postgres::connect(&url, "test", 2).unwrap();
    let one: i32 = sqlx::query_scalar("select 1").fetch_one(&pool).await.unwrap();
    assert_eq!(one, 1);

    for (port, authority) in [(misnamed, &ours), (right, &strangers)] {
        let (url, _root) = verified(&database, port, authority);
        let pool = tael_postgres::connect(&url, "test", 2).unwrap();
        let refused = sqlx::query("select 1").execute(&pool).await.unwrap_err();
        assert!(matches!(refused, sqlx::Error::Tls(_) | sqlx::Error::Io(_)), "{refused}");
        assert!(refused.to_string().contains("ertificate"), "{refused}");
    }
}
