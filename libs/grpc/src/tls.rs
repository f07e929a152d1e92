//! Mutual TLS between services: who we are, and whom we believe.
//!
//! Only TLS 1.3, only certificates of our own authority, and both sides show one. Whom a certificate names is a
//! [`Caller`]; what that caller may do is said by each service's table ([`crate::server::RpcAccess`]).
//!
//! The files are looked at every two seconds, for cert-manager renews certificates and replaces the files of a mounted
//! Secret while the service runs. Connections that are made from then on use the new ones; those that exist go on until
//! they are an hour old ([`crate::server`]), so that a certificate that is no longer believed does not live on in them.
//! New files that can't be used are told in the log, and the old ones stay in use.

mod files;

use std::fmt;
use std::sync::{Arc, RwLock, Weak};
use std::time::Duration;

pub use files::{Files, TlsError};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ServerConfig};

use self::files::{Contents, Material};
use crate::caller::Caller;
use crate::status::Chain;

/// How often the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// A certificate of ours with its key, and the authority whose certificates we believe. Cheap to clone; clones share
/// what is re-read.
#[derive(Clone)]
pub struct Identity(Arc<RwLock<Material>>);

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(&self.caller().name()).finish()
    }
}

impl Identity {
    /// Reads the files, and from then on whenever they change as long as the identity is in use.
    pub async fn read(files: Files) -> Result<Self, TlsError> {
        let contents = files.read().await?;
        let identity = Self(Arc::new(RwLock::new(contents.material()?)));
        tokio::spawn(follow(files, contents, Arc::downgrade(&identity.0)));
        Ok(identity)
    }

    /// Returns whom our certificate names.
    pub fn caller(&self) -> Caller {
        self.0.read().expect("nothing panics under this lock").caller
    }

    pub(crate) fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.read().expect("nothing panics under this lock").server)
    }

    pub(crate) fn client_config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.0.read().expect("nothing panics under this lock").client)
    }
}

async fn follow(files: Files, mut known: Contents, material: Weak<RwLock<Material>>) {
    // A look may fall between the replacement of two files. What is still unusable at the next look is told, once.
    let mut suspect: Option<Contents> = None;
    let mut told = false;
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let Some(material) = material.upgrade() else { return };
        let error = match files.read().await {
            Ok(contents) if contents == known => {
                (suspect, told) = (None, false);
                continue;
            }
            Ok(contents) => match contents.material() {
                Ok(new) => {
                    tracing::info!(caller = %new.caller, "the certificates have changed");
                    *material.write().expect("nothing panics under this lock") = new;
                    known = contents;
                    (suspect, told) = (None, false);
                    continue;
                }
                Err(_) if suspect.as_ref() != Some(&contents) => {
                    (suspect, told) = (Some(contents), false);
                    continue;
                }
                Err(error) => error,
            },
            Err(error) => error,
        };
        if !told {
            tracing::error!(error = %Chain(&error), "the new certificates can't be used; the old ones stay in use");
            told = true;
        }
    }
}

/// Whom a certificate that was verified names; none when it is no caller's.
pub(crate) fn caller_of(certificate: &CertificateDer<'_>) -> Option<Caller> {
    let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
    // A SPIFFE certificate has exactly one URI (<https://spiffe.io/docs/latest/spiffe-specs/x509-svid/>, 2).
    let mut uris = certificate.valid_uri_names();
    let (uri, None) = (uris.next()?, uris.next()) else { return None };
    Caller::from_uri(uri)
}
