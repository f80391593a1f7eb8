//! How servers prove who they are, and we to them.

use std::path::{Path, PathBuf};

use redis::{ClientTlsConfig, TlsCertificates};
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

    /// Reads the files.
    pub(crate) fn load(&self) -> Result<TlsCertificates> {
        let client_tls = self.own.as_ref().map(|(certificate, key)| -> Result<_> {
            Ok(ClientTlsConfig { client_cert: read(certificate)?, client_key: read(key)? })
        });
        Ok(TlsCertificates {
            client_tls: client_tls.transpose()?,
            root_cert: self.authorities.as_deref().map(read).transpose()?,
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path)
        .map_err(|e| Error::new(ErrorKind::InvalidOption, format!("read {path:?}: {e}")).with_source(e))
}

fn invalid(text: &str) -> Error {
    Error::new(ErrorKind::InvalidOption, format!("URL options {text}"))
}
