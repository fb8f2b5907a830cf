//! What a web configuration may say. `promtool` is asked too: what it refuses is refused here.

use std::fs;
use std::process::Command;

use flexvm_exporter::web::Access;

use crate::pki::Authority;
use crate::program::tool;

const TLS: &str = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";

/// Texts with the key and a word of the problem.
fn refused() -> Vec<(String, &'static str, &'static str)> {
    let tls = |more: &str| format!("{TLS}  {more}\n");
    vec![
        ("basic_auth_users: {me: secret}".to_owned(), "basic_auth_users.me (line 1)", "bcrypt"),
        ("basic_auth_users: {me: $2y$10$\u{e9}}".to_owned(), "basic_auth_users.me (line 1)", "bcrypt"),
        ("basic_auth_users: [me]".to_owned(), "basic_auth_users (line 1)", "mapping"),
        ("tls_config: {}".to_owned(), "tls_config (line 1)", "unknown key"),
        (tls("colour: red"), "tls_server_config.colour (line 4)", "unknown key"),
        (tls("client_ca_file: ca.crt"), "tls_server_config.client_ca_file (line 4)", "client_auth_type"),
        (tls("client_auth_type: Sometimes"), "tls_server_config.client_auth_type (line 4)", "none of"),
        (
            tls("client_auth_type: RequireAndVerifyClientCert"),
            "tls_server_config.client_auth_type (line 4)",
            "client_ca_file",
        ),
        (tls("client_auth_type: RequestClientCert"), "client_auth_type (line 4)", "not supported"),
        (tls("cipher_suites: [TLS_AES_128_GCM_SHA256]"), "cipher_suites (line 4)", "not supported"),
        (tls("curve_preferences: [X25519]"), "curve_preferences (line 4)", "not supported"),
        (tls("client_allowed_sans: [me]"), "client_allowed_sans (line 4)", "not supported"),
        (tls("min_version: TLS11"), "min_version (line 4)", "TLS12"),
        (tls("min_version: SSL3"), "min_version (line 4)", "none of"),
        (tls("min_version: TLS13\n  max_version: TLS12"), "max_version (line 5)", "lower"),
        ("tls_server_config:\n  cert_file: server.crt\n".to_owned(), "key_file", "missing"),
        ("tls_server_config:\n  key_file: server.key\n".to_owned(), "cert_file", "missing"),
        (TLS.replace("server.crt", "none.crt"), "tls_server_config.cert_file", "cannot be read"),
        (TLS.replace("server.crt", "server.key"), "tls_server_config.cert_file", "no certificate"),
        (TLS.replace("server.key", "server.crt"), "tls_server_config.key_file", "no private key"),
        (TLS.replace("server.key", "ca.key"), "tls_server_config.key_file", "does not go with"),
        ("http_server_config: {headers: {Server: x}}".to_owned(), "headers.Server", "cannot be set"),
        ("http_server_config: {http2: perhaps}".to_owned(), "http2 (line 1)", "neither true nor false"),
        ("basic_auth_users: {".to_owned(), "--web.config.file", "not YAML"),
        ("- a list".to_owned(), "--web.config.file", "not a configuration"),
    ]
}

fn accepted() -> Vec<String> {
    let hash = bcrypt::hash("pw", 4).unwrap();
    vec![
        String::new(),
        "# nothing\n".to_owned(),
        TLS.to_owned(),
        format!("{TLS}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n"),
        format!("{TLS}  min_version: TLS13\n  max_version: TLS13\n  prefer_server_cipher_suites: true\n"),
        format!("basic_auth_users:\n  me: {hash}\n  you: {hash}\n"),
        "http_server_config:\n  http2: false\n  headers:\n    X-Content-Type-Options: nosniff\n".to_owned(),
    ]
}

#[test]
fn files_are_read_or_refused_with_key_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    authority.issue().write(folder.path(), "server");
    authority.issue().write(folder.path(), "ca");
    fs::write(folder.path().join("ca.crt"), &authority.pem).unwrap();
    let file = folder.path().join("web.yml");
    let promtool = tool("promtool");
    let promtool_takes = |text: &str| {
        fs::write(&file, text).unwrap();
        let promtool = promtool.as_ref()?;
        let output = Command::new(promtool).args(["check", "web-config"]).arg(&file).output().unwrap();
        Some((output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned()))
    };
    for text in accepted() {
        let judged = promtool_takes(&text);
        assert!(Access::open(Some(&file)).is_ok(), "{text}: {:?}", Access::open(Some(&file)));
        assert!(judged.as_ref().is_none_or(|(takes, _)| *takes), "{text}: promtool says {judged:?}");
    }
    for (text, key, word) in refused() {
        fs::write(&file, &text).unwrap();
        let problems = Access::open(Some(&file)).unwrap_err().to_string();
        assert!(problems.contains(key) && problems.contains(word), "{text}\n{problems}");
        assert!(problems.starts_with("--web.config.file "), "{problems}");
        assert!(!problems.contains("secret") && !problems.contains("PRIVATE"), "{problems}");
    }
    // Several at once.
    fs::write(&file, "basic_auth_users: {me: x}\ncolour: red\n").unwrap();
    assert_eq!(Access::open(Some(&file)).unwrap_err().0.len(), 2);
    // Everything else that promtool refuses.
    for text in [
        "tls_server_config: {}\nbasic_auth_users: {me: x}",
        "http_server_config: {headers: {X-Frame-Options: [a]}}",
        "basic_auth_users: {me: $2y$99$abcdefghijklmnopqrstuuR9hWW0yFDqkKQ7s7yXWUQNpPxS0oGy}",
    ] {
        if promtool_takes(text).is_some_and(|(takes, _)| !takes) {
            assert!(Access::open(Some(&file)).is_err(), "{text}");
        }
    }
}

#[test]
fn the_example_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    authority.issue().write(folder.path(), "flexvm-exporter");
    fs::write(folder.path().join("clients.crt"), &authority.pem).unwrap();
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config/web.yml")).unwrap();
    // As it stands, and with every line that is commented out.
    let all: Vec<&str> = text.lines().map(|line| line.strip_prefix("#+ ").unwrap_or(line)).collect();
    let all = all.join("\n");
    assert_ne!(text, all);
    let file = folder.path().join("web.yml");
    for text in [text, all] {
        fs::write(&file, &text).unwrap();
        let access = Access::open(Some(&file)).unwrap();
        assert!(access.rules().tls.is_some() && access.rules().authenticated());
        if let Some(promtool) = tool("promtool") {
            let output = Command::new(promtool).args(["check", "web-config"]).arg(&file).output().unwrap();
            assert!(output.status.success(), "{output:?}");
        }
    }
}
