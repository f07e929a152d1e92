//! Certificates, as cert-manager would give them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use tael_grpc::tls::{Files, Identity};
use tael_ids::EventId;

/// A certificate authority of a test's own.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate, as PEM.
    pub pem: String,
}

/// A certificate and its key, as PEM.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// Makes an authority that is like no other.
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("a key can be made");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, EventId::new().to_string());
        let pem = params.self_signed(&key).expect("the parameters are sound").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Certifies who has a name, such as `order`, for servers on this machine and for their callers.
    pub fn certify(&self, caller: &str) -> Certificate {
        self.certify_uris(&[&format!("spiffe://tael/{caller}")])
    }

    /// Certifies whatever the URIs name.
    pub fn certify_uris(&self, uris: &[&str]) -> Certificate {
        self.sign(&params(uris, &["localhost"]))
    }

    /// Certifies who has a name for another host than this one.
    pub fn certify_for(&self, caller: &str, host: &str) -> Certificate {
        self.sign(&params(&[&format!("spiffe://tael/{caller}")], &[host]))
    }

    /// Certifies who had a name, until 2021.
    pub fn certify_expired(&self, caller: &str) -> Certificate {
        let mut params = params(&[&format!("spiffe://tael/{caller}")], &["localhost"]);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Certificate {
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params.signed_by(&key, &self.issuer).expect("the parameters are sound").pem();
        Certificate { certificate, key: key.serialize_pem() }
    }
}

fn params(uris: &[&str], hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
    let mut params = CertificateParams::new(hosts).expect("a host's name is ASCII");
    let uris = uris.iter().map(|uri| SanType::URI((*uri).try_into().expect("a URI is ASCII")));
    params.subject_alt_names.extend(uris);
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params
}

/// A folder with certificates, as Kubernetes mounts a Secret: the files are links into a folder that is replaced as a
/// whole. It is removed when it is dropped.
#[derive(Debug)]
pub struct Mounted {
    folder: PathBuf,
    versions: AtomicU32,
}

impl Mounted {
    /// Mounts a certificate and the authorities to believe at a place of their own.
    pub fn new(certificate: &Certificate, authorities: &[&Authority]) -> Self {
        Self::at(std::env::temp_dir().join(EventId::new().to_string()), certificate, authorities)
    }

    /// Mounts a certificate and the authorities to believe in a new folder.
    pub fn at(folder: PathBuf, certificate: &Certificate, authorities: &[&Authority]) -> Self {
        fs::create_dir_all(&folder).expect("a folder can be made");
        let mounted = Self { folder, versions: AtomicU32::new(0) };
        mounted.replace(certificate, authorities);
        for file in ["tls.crt", "tls.key", "ca.crt"] {
            symlink(Path::new("..data").join(file), mounted.folder.join(file)).expect("a link can be made");
        }
        mounted
    }

    /// Replaces what is mounted.
    pub fn replace(&self, certificate: &Certificate, authorities: &[&Authority]) {
        let version = self.versions.fetch_add(1, Ordering::Relaxed);
        let name = format!("..{version}");
        let data = self.folder.join(&name);
        let authorities: String = authorities.iter().map(|authority| authority.pem.as_str()).collect();
        fs::create_dir(&data).expect("a folder can be made");
        let files =
            [("tls.crt", &certificate.certificate), ("tls.key", &certificate.key), ("ca.crt", &authorities)];
        for (file, text) in files {
            fs::write(data.join(file), text).expect("a file can be written");
        }
        let next = self.folder.join("..next");
        symlink(name, &next).expect("a link can be made");
        fs::rename(next, self.folder.join("..data")).expect("a link can be replaced");
    }

    /// Where the files are.
    pub fn files(&self) -> Files {
        let file = |name| self.folder.join(name);
        Files { certificate: file("tls.crt"), key: file("tls.key"), authority: file("ca.crt") }
    }

    /// Reads what is mounted, and follows it.
    pub async fn identity(&self) -> Identity {
        Identity::read(self.files()).await.expect("what is mounted can be used")
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.folder));
    }
}
