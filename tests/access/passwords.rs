//! Basic authentication.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use flexvm_exporter::config::WebReports;
use flexvm_exporter::web::{Access, Limits, Paths};
use hyper::Request;

use crate::rig::{Serving, app, plain, serve, until};

/// The cheapest hash there is.
fn hash(password: &str) -> String {
    bcrypt::hash(password, 4).unwrap()
}

fn rules() -> String {
    // As htpasswd writes them.
    let htpasswd = hash("wrong horse").replacen("$2b$", "$2y$", 1);
    format!(
        "basic_auth_users:\n  prometheus: {}\n  other: {htpasswd}\n\
         http_server_config:\n  headers:\n    X-Frame-Options: deny\n",
        hash("right: horse")
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_but_health_asks_for_the_password() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("web.yml"), rules()).unwrap();
    let serving = serve(folder.path(), Limits::default()).await;
    let http = plain();
    let get = async |path: &str, user: Option<(&str, &str)>| {
        let request = http.get(format!("http://{}{path}", serving.address));
        let request = match user {
            Some((user, password)) => request.basic_auth(user, Some(password)),
            None => request,
        };
        let answer = request.send().await.unwrap();
        assert_eq!(answer.headers()["x-frame-options"], "deny");
        if answer.status() == 401 {
            assert!(answer.headers()["www-authenticate"].to_str().unwrap().starts_with("Basic realm="));
        }
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    for path in ["/", "/metrics", "/reports/", "/sd/vms", "/-/reload", "/nowhere"] {
        for user in [
            None,
            Some(("prometheus", "wrong")),
            Some(("prometheus", "wrong horse")),
            Some(("prometheus", "")),
            Some(("nobody", "right: horse")),
            Some(("", "")),
        ] {
            let (status, body) = get(path, user).await;
            assert_eq!((status, &*body), (401, "A user and a password are needed.\n"), "{path} {user:?}");
        }
    }
    for (user, password) in [("prometheus", "right: horse"), ("other", "wrong horse")] {
        for _ in 0..2 {
            assert_eq!(get("/metrics", Some((user, password))).await.0, 200);
        }
    }
    assert_eq!(get("/-/healthy", None).await.0, 200);
    assert_ne!(get("/-/ready", None).await.0, 401);
}

/// Starts a server with the user `me`, whose password `right` takes long to check.
async fn serve_slow_hash(folder: &std::path::Path) -> Serving {
    let slow = bcrypt::hash("right", 8).unwrap();
    std::fs::write(folder.join("web.yml"), format!("basic_auth_users: {{me: {slow}}}\n")).unwrap();
    serve(folder, Limits::default()).await
}

/// The server has just started, so it remembers no right password. Each client of the flood sends another
/// wrong password when its previous password is refused.
#[tokio::test(flavor = "multi_thread")]
async fn right_password_precedes_flood_after_restart() {
    let folder = tempfile::tempdir().unwrap();
    let serving = serve_slow_hash(folder.path()).await;
    let url = format!("http://{}/metrics", serving.address);
    let refused = Arc::new(AtomicUsize::new(0));
    let flood: Vec<_> = (0..64)
        .map(|client| {
            let (http, url, refused) = (plain(), url.clone(), Arc::clone(&refused));
            tokio::spawn(async move {
                for guess in 0.. {
                    let password = format!("{client}-{guess}");
                    let answer = http.get(&url).basic_auth("me", Some(password)).send().await.unwrap();
                    match answer.status().as_u16() {
                        401 => _ = refused.fetch_add(1, Ordering::SeqCst),
                        503 => {}
                        other => panic!("status {other}"),
                    }
                }
            })
        })
        .collect();
    until("refused passwords", async || refused.load(Ordering::SeqCst) > 3).await;
    let before = refused.load(Ordering::SeqCst);
    let scrape = plain().get(&url).basic_auth("me", Some("right")).send();
    let answer =
        tokio::time::timeout(Duration::from_secs(10), scrape).await.expect("within a scrape's timeout");
    assert_eq!(answer.unwrap().status(), 200);
    // In the order of arrival, all 64 clients of the flood would come first.
    let checked = refused.load(Ordering::SeqCst) - before;
    assert!(checked < 32, "{checked} wrong passwords were checked first");
    // A remembered password is not checked again.
    assert_eq!(plain().get(&url).basic_auth("me", Some("right")).send().await.unwrap().status(), 200);
    for client in flood {
        client.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_password_holds_at_once_and_a_bad_file_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("web.yml");
    let with = |password: &str| format!("basic_auth_users: {{me: {}}}\n", hash(password));
    std::fs::write(&file, with("one")).unwrap();
    let serving = serve(folder.path(), Limits::default()).await;
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let watching = Arc::clone(&serving.access);
    tokio::spawn(watching.watch(move |result| told.send(result.is_ok()).unwrap()));
    let http = plain();
    let status = async |password: &str| {
        let request =
            http.get(format!("http://{}/metrics", serving.address)).basic_auth("me", Some(password));
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!((status("one").await, status("two").await), (200, 401));
    std::fs::write(&file, format!("{} # longer\n", with("two").trim())).unwrap();
    assert_eq!(heard.recv().await, Some(true));
    assert_eq!((status("one").await, status("two").await), (401, 200));
    std::fs::write(&file, "basic_auth_users: {me: plain}\n").unwrap();
    assert_eq!(heard.recv().await, Some(false));
    assert_eq!((status("one").await, status("two").await), (401, 200));
}

#[tokio::test]
async fn with_a_password_reports_are_served_beyond_loopback() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("web.yml");
    let status = async |access: Access, reports, user: Option<&str>| {
        let app = app(Arc::new(access), reports, folder.path(), Paths::default());
        let mut request = Request::get("/reports/");
        if let Some(user) = user {
            request = request.header("authorization", user);
        }
        app.answer(request.body(()).unwrap(), false).await.status().as_u16()
    };
    std::fs::write(&file, format!("basic_auth_users: {{me: {}}}\n", hash("pw"))).unwrap();
    let rules = || Access::open(Some(&file)).unwrap();
    assert_eq!(status(rules(), WebReports::Auto, Some("Basic bWU6cHc=")).await, 200);
    assert_eq!(status(rules(), WebReports::Auto, None).await, 401);
    assert_eq!(status(rules(), WebReports::Off, Some("Basic bWU6cHc=")).await, 403);
    assert_eq!(status(Access::default(), WebReports::Auto, None).await, 403);
    // What is no such header is no password.
    for odd in ["Basic", "Basic ", "Bearer bWU6cHc=", "Basic !!!", "Basic bWU=", "bWU6cHc="] {
        assert_eq!(status(rules(), WebReports::Auto, Some(odd)).await, 401, "{odd}");
    }
    assert_eq!(status(rules(), WebReports::Auto, Some("bAsIc bWU6cHc=")).await, 200);
}
