//! Certificates for tests: an authority, what it signs, and the store files in which programs want them.
//!
//! Made anew for each test and kept nowhere else. PEM files come from `rcgen`; PKCS12 and JKS from `openssl` and `keytool`,
//! as an administrator makes them, so that it is not our own reading of those formats that is tested against itself.

use crate::process::run;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevocationReason, RevokedCertParams,
    SerialNumber, date_time_ymd,
};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Password of every store file that is made here.
pub const STORE_PASSWORD: &str = "store-secret";

/// Somebody who signs certificates.
pub struct Authority {
    directory: PathBuf,
    name: String,
    issuer: CertifiedIssuer<'static, KeyPair>,
    serial: AtomicU64,
}

/// A certificate with its key, as files.
pub struct Identity {
    /// The certificate alone.
    pub certificate: PathBuf,
    /// Its private key: PKCS#8, not encrypted.
    pub key: PathBuf,
    /// Both in one file, as Kafka's key stores of type `PEM` are.
    pub pem: PathBuf,
    serial: u64,
}

impl Authority {
    /// An authority whose files lie in `directory`. Two of the same name are strangers to each other.
    pub fn new(directory: &Path, name: &str) -> Self {
        std::fs::create_dir_all(directory).expect("a directory can be made");
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key can be made");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate can be signed");
        std::fs::write(directory.join(format!("{name}.pem")), issuer.pem()).expect("a file can be written");
        Self {
            directory: directory.to_owned(),
            name: name.to_owned(),
            issuer,
            serial: AtomicU64::new(1),
        }
    }

    /// Its own certificate: what those trust who trust it.
    pub fn pem(&self) -> PathBuf {
        self.directory.join(format!("{}.pem", self.name))
    }

    /// For a broker on this machine: `localhost` and 127.0.0.1.
    pub fn server(&self, common_name: &str) -> Identity {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).expect("both are names");
        // Between brokers it is also a client's.
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(common_name, params)
    }

    /// For a client, `CN=<common_name>,O=Ottla`.
    pub fn client(&self, common_name: &str) -> Identity {
        self.sign(common_name, client_params())
    }

    /// As [`Authority::client`], but past its time for years.
    pub fn expired_client(&self, common_name: &str) -> Identity {
        let mut params = client_params();
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(2020, 1, 1);
        self.sign(common_name, params)
    }

    fn sign(&self, common_name: &str, mut params: CertificateParams) -> Identity {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        params.serial_number = Some(SerialNumber::from(serial));
        // The last is what Java names first: CN=…,O=Ottla. The default has a common name already.
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Ottla");
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params
            .signed_by(&key, &self.issuer)
            .expect("a certificate can be signed");
        let file = |kind: &str| {
            self.directory
                .join(format!("{}-{common_name}-{serial}.{kind}", self.name))
        };
        let identity = Identity {
            certificate: file("crt"),
            key: file("key"),
            pem: file("pem"),
            serial,
        };
        let (certificate, key) = (certificate.pem(), key.serialize_pem());
        std::fs::write(&identity.certificate, &certificate).expect("a file can be written");
        std::fs::write(&identity.key, &key).expect("a file can be written");
        std::fs::write(&identity.pem, key + &certificate).expect("a file can be written");
        identity
    }

    /// A list, in PEM, of those that it takes back.
    pub fn revoke(&self, identities: &[&Identity]) -> PathBuf {
        let revoked = identities.iter().map(|identity| RevokedCertParams {
            serial_number: SerialNumber::from(identity.serial),
            revocation_time: date_time_ymd(2026, 1, 1),
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            next_update: date_time_ymd(2099, 1, 1),
            crl_number: SerialNumber::from(1u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let file = self.directory.join(format!("{}.crl", self.name));
        let list = list.signed_by(&self.issuer).expect("a list can be signed");
        std::fs::write(&file, list.pem().expect("a list has a PEM")).expect("a file can be written");
        file
    }

    /// A store of type `kind` (`PKCS12` or `JKS`), made by `keytool`, that trusts this authority alone.
    pub fn truststore(&self, kind: &str) -> PathBuf {
        let file = self
            .directory
            .join(format!("{}-trust.{}", self.name, kind.to_lowercase()));
        let certificate = self.pem().display().to_string();
        let store = file.display().to_string();
        tool(&[
            "keytool",
            "-importcert",
            "-noprompt",
            "-alias",
            "authority",
            "-file",
            &certificate,
            "-keystore",
            &store,
            "-storetype",
            kind,
            "-storepass",
            STORE_PASSWORD,
        ]);
        file
    }
}

impl Identity {
    /// A key store of type `kind`: `PKCS12` by `openssl`, or `JKS`, into which `keytool` turns that.
    pub fn keystore(&self, kind: &str) -> PathBuf {
        let text = |path: &Path| path.display().to_string();
        let pkcs12 = self.pem.with_extension("p12");
        let password = format!("pass:{STORE_PASSWORD}");
        tool(&[
            "openssl",
            "pkcs12",
            "-export",
            "-inkey",
            &text(&self.key),
            "-in",
            &text(&self.certificate),
            "-name",
            "own",
            "-passout",
            &password,
            "-out",
            &text(&pkcs12),
        ]);
        if kind == "PKCS12" {
            return pkcs12;
        }
        let other = self.pem.with_extension("jks");
        tool(&[
            "keytool",
            "-importkeystore",
            "-noprompt",
            "-srckeystore",
            &text(&pkcs12),
            "-srcstoretype",
            "PKCS12",
            "-srcstorepass",
            STORE_PASSWORD,
            "-destkeystore",
            &text(&other),
            "-deststoretype",
            kind,
            "-deststorepass",
            STORE_PASSWORD,
        ]);
        other
    }
}

fn client_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

fn tool(words: &[&str]) {
    let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
    run(&words, 60).succeeds();
}
