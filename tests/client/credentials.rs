//! The token: where it comes from, when it is read again, and that nobody sees it.

use std::path::Path;

use flexvm_exporter::api::{Reason, read_token};
use flexvm_exporter::config::TokenSource;

use crate::common::{LONG, TOKEN, client_with, everything, run, tenant};
use crate::server::{Request, Server, status};

/// Accepts `good` and refuses everything else.
fn gate(request: &Request, good: &str, refusal: u16) -> crate::server::Reply {
    if request.headers.get("private-token").is_some_and(|token| token == good) {
        everything(request)
    } else {
        status(refusal, "", "<html>no</html>")
    }
}

fn write(path: &Path, token: &str) {
    std::fs::write(path, token).unwrap();
}

#[tokio::test]
async fn a_token_file_is_trimmed_and_read_again_when_refused() {
    for refusal in [401, 403] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        write(&path, "\n old \r\n");
        let written = path.clone();
        // The token is replaced while the first request is under way.
        let server = Server::start(move |request, before| {
            if before == 0 {
                write(&written, "new\n");
            }
            gate(request, "new", refusal)
        })
        .await;
        let (client, seen) = client_with(&server, |tenant| tenant.token = TokenSource::File(path.clone()));
        let run = client.run(LONG);
        run.clouds().await.unwrap();
        run.images().await.unwrap();
        let sent: Vec<_> = server.requests().iter().map(|r| r.headers["private-token"].clone()).collect();
        assert_eq!(sent, ["old", "new", "new"]);
        assert_eq!(
            (seen.codes(), seen.retries()),
            (vec![refusal.to_string(), "200".into(), "200".into()], 1)
        );
    }
}

#[tokio::test]
async fn each_run_reads_the_token_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    write(&path, "one");
    let server = Server::start(|request, _| everything(request)).await;
    let (client, _) = client_with(&server, |tenant| tenant.token = TokenSource::File(path.clone()));
    client.run(LONG).clouds().await.unwrap();
    // As long as the old one, and within the same tick of the file system's clock.
    write(&path, "two");
    client.run(LONG).clouds().await.unwrap();
    let sent: Vec<_> = server.requests().iter().map(|r| r.headers["private-token"].clone()).collect();
    assert_eq!(sent, ["one", "two"]);

    std::fs::remove_file(&path).unwrap();
    let error = client.run(LONG).clouds().await.unwrap_err();
    assert_eq!(error.reason(), Reason::Credentials);
    let chain = format!("{:#}", anyhow::Error::from(error));
    assert!(chain.contains("tenant k1: token file") && chain.contains("cannot be read"), "{chain}");
    assert_eq!(server.count(), 2);
}

#[tokio::test]
async fn a_wrong_token_is_tried_once_and_named_nowhere() {
    let server = Server::start(|request, _| gate(request, "other", 403)).await;
    let (client, seen) = client_with(&server, |_| {});
    let error = client.run(LONG).clouds().await.unwrap_err();
    assert_eq!(error.reason(), Reason::Credentials);
    assert_eq!((server.count(), seen.retries()), (1, 0));
    for text in [format!("{error:?}"), format!("{client:?}"), format!("{:?}", tenant(&server, |_| {}))] {
        assert!(!text.contains(TOKEN), "{text}");
    }
}

#[tokio::test]
async fn a_token_that_cannot_be_sent_is_told_with_tenant_and_place() {
    let server = Server::start(|request, _| everything(request)).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let file = tenant(&server, |tenant| tenant.token = TokenSource::File(path.clone()));
    let place = format!("tenant k1: token file {}", path.display());
    let failure = || read_token(&file).unwrap_err().to_string();
    assert_eq!(failure(), format!("{place} cannot be read"));
    for (content, problem) in [
        ("", "is empty"),
        (" \n\t ", "is empty"),
        ("sec ret", "holds more than one word of visible ASCII"),
        ("sec\nret", "holds more than one word of visible ASCII"),
        ("sécret", "holds more than one word of visible ASCII"),
        ("sec\0ret", "holds more than one word of visible ASCII"),
        ("\"secret\"\n", "is in quotes: remove them"),
    ] {
        write(&path, content);
        assert_eq!(failure(), format!("{place} {problem}"), "{content:?}");
    }
    // Windows editors write the last content.
    for content in [" fine\n", "fine\r\n\r\n", "\u{feff}fine\r\n"] {
        write(&path, content);
        assert_eq!(read_token(&file).unwrap().expose(), "fine", "{content:?}");
    }
    let name = "FLEXVM_TEST_VARIABLE_THAT_IS_NOT_SET";
    let variable = tenant(&server, |tenant| tenant.token = TokenSource::Env(name.into()));
    assert_eq!(
        read_token(&variable).unwrap_err().to_string(),
        format!("tenant k1: environment variable {name} is not set")
    );
    let variable = tenant(&server, |tenant| tenant.token = TokenSource::Env("CARGO_PKG_NAME".into()));
    assert_eq!(read_token(&variable).unwrap().expose(), "flexvm-exporter");
}

#[tokio::test]
async fn a_redirect_is_an_error_and_its_target_gets_nothing() {
    let other = Server::start(|request, _| everything(request)).await;
    for code in [301, 302, 303, 307, 308] {
        let target = format!("http://{}/v3/flexVM/clouds", other.address);
        let location = format!("Location: {target}\r\n");
        let server = Server::start(move |_, _| status(code, &location, "")).await;
        let (run, seen) = run(&server);
        let error = run.clouds().await.unwrap_err();
        assert_eq!(error.reason(), Reason::Redirect);
        assert!(error.to_string().contains(&target));
        assert_eq!((server.count(), seen.retries()), (1, 0));
    }
    assert_eq!(other.count(), 0);
}

#[tokio::test]
async fn a_token_that_the_server_repeats_is_hidden() {
    let odd = "a+token/that=nobody";
    let message = |token: &str| format!("{{\"errorMessage\": \"the key {token} is not valid\"}}");
    let encoded = "Location: http://other.example/?key=a%2Btoken%2Fthat%3Dnobody\r\n";
    for (token, code, headers, body) in [
        (TOKEN, 403, String::new(), message(TOKEN)),
        (TOKEN, 500, String::new(), message(TOKEN)),
        (TOKEN, 307, format!("Location: http://other.example/?key={TOKEN}\r\n"), String::new()),
        (odd, 307, encoded.to_owned(), String::new()),
        (TOKEN, 200, String::new(), format!("\"{TOKEN}\"")),
        // Cut within the token.
        (TOKEN, 403, String::new(), message(&format!("{}{TOKEN}", "x".repeat(470)))),
    ] {
        let server = Server::start(move |_, _| status(code, &headers, &body)).await;
        let (client, _) = client_with(&server, |tenant| {
            tenant.token = TokenSource::Fixed(flexvm_exporter::config::Secret::new(token));
            tenant.api.retries = 0;
        });
        let error = client.run(LONG).clouds().await.unwrap_err();
        let said = format!("{error} {error:?}");
        assert!(said.contains("[token]") && !said.contains("nobody"), "{said}");
    }
}

#[tokio::test]
async fn a_field_that_is_named_like_the_token_is_counted_without_it() {
    let body = format!("[{{\"id\": \"c-1\", \"{TOKEN}\": 1}}]");
    let server = Server::start(move |_, _| status(200, "", &body)).await;
    let (client, _) = client_with(&server, |_| {});
    let run = client.run(LONG);
    run.clouds().await.unwrap();
    let names: Vec<_> = run.unknown_fields().into_keys().map(|(_, name)| name).collect();
    assert_eq!(names, ["[token]"]);
}
