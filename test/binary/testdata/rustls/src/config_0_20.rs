//! Settings of rustls 0.20 and 0.21.
use std::sync::Arc;

use rustls::{ClientConfig, ServerConfig};

/// The certificate is made for the test.
struct Trusting;

impl rustls::client::ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &rustls::Certificate,
        _: &[rustls::Certificate],
        _: &rustls::ServerName,
        _: &mut dyn Iterator<Item = &[u8]>,
        _: &[u8],
        _: std::time::SystemTime,
    ) -> Result<rustls::client::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::ServerCertVerified::assertion())
    }
}

pub fn server_config(cert: Vec<u8>, key: Vec<u8>) -> Arc<ServerConfig> {
    let builder = ServerConfig::builder().with_safe_defaults().with_no_client_auth();
    Arc::new(builder.with_single_cert(vec![rustls::Certificate(cert)], rustls::PrivateKey(key)).unwrap())
}

pub fn client_config(versions: &[&'static rustls::SupportedProtocolVersion]) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder().with_safe_default_cipher_suites().with_safe_default_kx_groups();
    let builder = builder.with_protocol_versions(versions).unwrap();
    Arc::new(builder.with_custom_certificate_verifier(Arc::new(Trusting)).with_no_client_auth())
}
