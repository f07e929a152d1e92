//! Certificates and keys, as they lie in files.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::caller_of;
use crate::caller::Caller;

/// PEM files, as cert-manager writes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// `TAEL_TLS_CERTIFICATE`: our certificate and those between it and the authority (`tls.crt`).
    pub certificate: PathBuf,
    /// `TAEL_TLS_KEY`: its private key (`tls.key`).
    pub key: PathBuf,
    /// `TAEL_TLS_AUTHORITY`: the certificates of the authorities that are believed (`ca.crt`); two while one replaces
    /// the other.
    pub authority: PathBuf,
}

const CERTIFICATE: &str = "TAEL_TLS_CERTIFICATE";
const KEY: &str = "TAEL_TLS_KEY";
const AUTHORITY: &str = "TAEL_TLS_AUTHORITY";

/// Why certificates can't be used. Each names the variable that says where the file is.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read.
    #[error("{0}: {1} can't be read")]
    Unreadable(&'static str, PathBuf, #[source] io::Error),
    /// A file is not what it should be.
    #[error("{0}: the file is no PEM file with what is expected")]
    Malformed(&'static str, #[source] pem::Error),
    /// The file has no certificate.
    #[error("{0}: there is no certificate in the file")]
    Empty(&'static str),
    /// Our certificate names nobody whom other services know.
    #[error("{CERTIFICATE}: the certificate has no subject alternative name such as URI:spiffe://tael/order")]
    Nameless,
    /// The certificate can't be used with the key.
    #[error("{CERTIFICATE} and {KEY} can't be used together")]
    Unusable(#[source] rustls::Error),
    /// The authority's certificate can't be used.
    #[error("{AUTHORITY}: the certificate can't be used")]
    Authority(#[source] rustls::Error),
    /// No certificate can be verified with the authority.
    #[error("{AUTHORITY}: nothing can be verified with it")]
    Verifier(#[from] VerifierBuilderError),
}

impl Files {
    pub(super) async fn read(&self) -> Result<Contents, TlsError> {
        let files = self.clone();
        let read = move || {
            let read = |name, path: PathBuf| {
                std::fs::read(&path).map_err(|error| TlsError::Unreadable(name, path, error))
            };
            Ok(Contents {
                certificate: read(CERTIFICATE, files.certificate)?,
                key: read(KEY, files.key)?,
                authority: read(AUTHORITY, files.authority)?,
            })
        };
        tokio::task::spawn_blocking(read).await.expect("reading a file does not panic")
    }
}

/// What was in the files.
#[derive(PartialEq, Eq)]
pub(super) struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    authority: Vec<u8>,
}

/// What connections are made and taken with.
pub(super) struct Material {
    pub(super) caller: Caller,
    pub(super) server: Arc<ServerConfig>,
    pub(super) client: Arc<ClientConfig>,
}

impl Contents {
    pub(super) fn material(&self) -> Result<Material, TlsError> {
        let chain = certificates(CERTIFICATE, &self.certificate)?;
        let caller = caller_of(&chain[0]).ok_or(TlsError::Nameless)?;
        let key =
            || PrivateKeyDer::from_pem_slice(&self.key).map_err(|error| TlsError::Malformed(KEY, error));
        let mut roots = RootCertStore::empty();
        for authority in certificates(AUTHORITY, &self.authority)? {
            roots.add(authority).map_err(TlsError::Authority)?;
        }
        let (roots, provider) = (Arc::new(roots), Arc::new(aws_lc_rs::default_provider()));
        Ok(Material {
            caller,
            server: Arc::new(server(&roots, &provider, chain.clone(), key()?)?),
            client: Arc::new(client(&roots, &provider, chain, key()?)?),
        })
    }
}

type Chain = Vec<CertificateDer<'static>>;

fn server(
    roots: &Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
    chain: Chain,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, TlsError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build()?;
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Unusable)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(TlsError::Unusable)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    // Connections are kept for an hour, so nothing is saved by taking up sessions, and each shows its certificate.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn client(
    roots: &Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
    chain: Chain,
    key: PrivateKeyDer<'static>,
) -> Result<ClientConfig, TlsError> {
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Unusable)?
        .with_root_certificates(roots.clone())
        .with_client_auth_cert(chain, key)
        .map_err(TlsError::Unusable)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

fn certificates(name: &'static str, pem: &[u8]) -> Result<Chain, TlsError> {
    let certificates = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Chain, _>>()
        .map_err(|error| TlsError::Malformed(name, error))?;
    if certificates.is_empty() { Err(TlsError::Empty(name)) } else { Ok(certificates) }
}
