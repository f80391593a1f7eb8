//! How servers prove who they are, and we to them.

use std::path::{Path, PathBuf};

use redis::{ClientTlsConfig, TlsCertificates};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tooz_core::{Endpoint, Error, ErrorKind, Result};

/// The files TLS needs. Certificates and host names are always checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tls {
    authorities: Option<PathBuf>,
    own: Option<(PathBuf, PathBuf)>,
}

impl Tls {
    /// The TLS options, whether TLS is spoken or not.
    pub(super) fn read(endpoint: &Endpoint) -> Result<Self> {
        let file = |name| endpoint.text(name).filter(|path: &&str| !path.is_empty()).map(PathBuf::from);
        let own = match (file("ssl_certfile"), file("ssl_keyfile")) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err(invalid("ssl_certfile and ssl_keyfile belong together: give both or none")),
        };
        let tls = Self { authorities: file("ssl_ca_certs"), own };
        let names_files = tls.authorities.is_some() || tls.own.is_some();
        let spoken =
            endpoint.scheme() == "rediss" || endpoint.flag("ssl")? || endpoint.flag("sentinel_ssl")?;
        match names_files && !spoken {
            true => Err(invalid("ssl_… files are named but TLS is not spoken: say rediss:// or ssl=true")),
            false => Ok(tls),
        }
    }

    /// Reads the files, and refuses what is no certificate or key.
    pub(crate) fn load(&self) -> Result<TlsCertificates> {
        let client_tls = self.own.as_ref().map(|(certificate, key)| -> Result<_> {
            let client_cert = certificates(certificate)?;
            let client_key = read(key)?;
            PrivateKeyDer::from_pem_slice(&client_key).map_err(|e| unreadable(key, "private key", e))?;
            Ok(ClientTlsConfig { client_cert, client_key })
        });
        Ok(TlsCertificates {
            client_tls: client_tls.transpose()?,
            root_cert: self.authorities.as_deref().map(authorities).transpose()?,
        })
    }
}

fn authorities(path: &Path) -> Result<Vec<u8>> {
    let pem = certificates(path)?;
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|e| unreadable(path, "certificate", e))?;
        store.add(certificate).map_err(|e| unreadable(path, "certificate", e))?;
    }
    Ok(pem)
}

fn certificates(path: &Path) -> Result<Vec<u8>> {
    let pem = read(path)?;
    let mut count = 0;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        certificate.map_err(|e| unreadable(path, "certificate", e))?;
        count += 1;
    }
    match count {
        0 => Err(Error::new(ErrorKind::InvalidOption, format!("{path:?} holds no certificate in PEM form"))),
        _ => Ok(pem),
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path)
        .map_err(|e| Error::new(ErrorKind::InvalidOption, format!("read {path:?}: {e}")).with_source(e))
}

fn unreadable(path: &Path, what: &str, cause: impl std::error::Error + Send + Sync + 'static) -> Error {
    let text = format!("{path:?} holds no {what} in PEM form: {cause}");
    Error::new(ErrorKind::InvalidOption, text).with_source(cause)
}

fn invalid(text: &str) -> Error {
    Error::new(ErrorKind::InvalidOption, format!("URL options {text}"))
}
