//! A certificate authority of a test's own, and what it signed.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Folder;
use super::process::find;

/// Days that a certificate is good for.
const DAYS: &str = "2";

/// Certificates and keys as PEM files in a folder of their own.
#[derive(Debug)]
pub struct Certificates(Folder);

impl Certificates {
    /// An authority, one certificate for servers at `localhost` and 127.0.0.1, and one for clients, all of
    /// them made just now.
    pub fn new() -> Self {
        let made = Self(Folder::new("certificates"));
        made.0.write(
            "server.ext",
            "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n",
        );
        made.0.write("client.ext", "extendedKeyUsage=clientAuth\n");
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        let authority =
            ["-x509", "-days", DAYS, "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem"];
        made.openssl(&[["req"].as_slice(), &key, &authority].concat());
        for name in ["server", "client"] {
            let file = |kind: &str| format!("{name}.{kind}");
            let (subject, secret, request) = (format!("/CN={name}"), file("key"), file("csr"));
            let wish = ["-subj", &subject, "-keyout", &secret, "-out", &request];
            made.openssl(&[["req"].as_slice(), &key, &wish].concat());
            let (signed, kinds) = (file("pem"), file("ext"));
            let authority = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", DAYS];
            let sign = ["x509", "-req", "-in", &request, "-out", &signed, "-extfile", &kinds];
            made.openssl(&[sign.as_slice(), &authority].concat());
        }
        made
    }

    /// The folder with all of them.
    pub fn folder(&self) -> &Path {
        self.0.path()
    }

    /// The authority's certificate.
    pub fn authority(&self) -> PathBuf {
        self.0.join("ca.pem")
    }

    /// A server's certificate and key.
    pub fn server(&self) -> (PathBuf, PathBuf) {
        (self.0.join("server.pem"), self.0.join("server.key"))
    }

    /// A client's certificate and key.
    pub fn client(&self) -> (PathBuf, PathBuf) {
        (self.0.join("client.pem"), self.0.join("client.key"))
    }

    fn openssl(&self, arguments: &[&str]) {
        let mut command = Command::new(find("openssl", "openssl"));
        let output = command.args(arguments).current_dir(self.0.path()).output();
        let output = output.unwrap_or_else(|error| panic!("start openssl: {error}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {arguments:?}: {said}");
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}
