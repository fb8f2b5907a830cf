//! Nothing outside the report folder is given away, however an address is written and wherever
//! links in the folder lead.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::rig::Rig;

const SECRET: &str = "the secret that lies beside the reports";

/// The answer, all of it, to a request for exactly these bytes.
async fn raw(rig: &Rig, path: &[u8]) -> String {
    let mut stream = TcpStream::connect(rig.url.trim_start_matches("http://")).await.unwrap();
    let request = [b"GET ", path, b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"].concat();
    // A server that refuses what it has read so far may not take the rest.
    let _ = stream.write_all(&request).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

async fn is_refused(rig: &Rig, path: &[u8]) {
    let answer = raw(rig, path).await;
    let shown = String::from_utf8_lossy(&path[..path.len().min(200)]);
    assert!(!answer.contains(SECRET) && !answer.contains("root:"), "{shown}: {answer}");
    let status = answer.get(9..12).unwrap_or("none");
    assert!(["400", "404", "414", "431", "none"].contains(&status), "{shown}: {status}");
}

/// A folder with reports on September and October in `reports`, and a secret beside it.
async fn rig(folder: &Path) -> Rig {
    fs::write(folder.join("secret.txt"), SECRET).unwrap();
    let directory = folder.join("reports");
    let rig = Rig::with(|config| {
        config.report.directory.clone_from(&directory);
        config.report.backfill = 1;
    })
    .await;
    rig.until("a closed month", |text| text.contains("flexvm_report_vm_seconds{")).await;
    rig
}

#[tokio::test(flavor = "multi_thread")]
async fn no_way_of_writing_an_address_leads_out() {
    let folder = tempfile::tempdir().unwrap();
    let rig = rig(folder.path()).await;
    let ups: [&[u8]; 12] = [
        b"..",
        b"%2e%2e",
        b"%2E.",
        b".%2e",
        b"%252e%252e",
        b"%25252e%25252e",
        b"%c0%ae%c0%ae",
        b"%e0%80%ae%e0%80%ae",
        b"\xc0\xae\xc0\xae",
        b"..%00",
        b"..;",
        "\u{ff0e}\u{ff0e}".as_bytes(),
    ];
    let slashes: [&[u8]; 9] = [b"/", b"//", b"/./", b"%2f", b"%252F", b"\\", b"%5c", b"%c0%af", b"\xc0\xaf"];
    let (mut asked, absolute) = (0, folder.path().join("secret.txt"));
    for base in ["/reports/", "/reports/one/", "/reports/one/2026-09/r01/"] {
        for up in ups {
            for slash in slashes {
                for (depth, target) in
                    [(1, "secret.txt"), (2, "secret.txt"), (4, "secret.txt"), (12, "etc/passwd")]
                {
                    let mut path = base.as_bytes().to_vec();
                    for _ in 0..depth {
                        path.extend([up, slash].concat());
                    }
                    path.extend(target.as_bytes());
                    is_refused(&rig, &path).await;
                    asked += 1;
                }
            }
        }
        let absolute = absolute.to_str().unwrap();
        for path in [
            format!("{base}{absolute}"),
            format!("{base}{}", absolute.replace('/', "%2f")),
            format!("{base}file://{absolute}"),
            format!("{base}{}", "../".repeat(20_000)),
            format!("{base}{}", "a".repeat(1_000_000)),
            format!("{base}\0"),
            format!("{base}index.csv\0.txt"),
            format!("{base}~root/secret.txt"),
            format!("http://localhost{base}../../secret.txt"),
            format!("{base}..\\..\\secret.txt"),
            format!("{base}CON"),
            format!("{base}."),
            format!("{base}*"),
        ] {
            is_refused(&rig, path.as_bytes()).await;
        }
    }
    assert_eq!(asked, 3 * 12 * 9 * 4);
    assert_eq!(rig.get("/reports/one/index.csv").await.0, 200, "what lies inside is still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_link_and_no_manifest_leads_out() {
    let folder = tempfile::tempdir().unwrap();
    let rig = rig(folder.path()).await;
    let (reports, secret) = (folder.path().join("reports/one"), folder.path().join("secret.txt"));
    let name = |file: &str| format!("flexvm-usage_one_2026-09_r01_{file}");
    let path = |file: &str| format!("/reports/one/2026-09/r01/{}", name(file));
    let r01 = reports.join("2026-09/r01");
    assert_eq!(rig.get(&path("by-tag.csv")).await.0, 200);
    // A file, then the index, that are links to the secret; a link within the folder is fine.
    fs::remove_file(r01.join(name("by-tag.csv"))).unwrap();
    symlink(&secret, r01.join(name("by-tag.csv"))).unwrap();
    fs::remove_file(r01.join(name("by-vm.csv"))).unwrap();
    symlink(r01.join(name("control.csv")), r01.join(name("by-vm.csv"))).unwrap();
    fs::remove_file(reports.join("index.csv")).unwrap();
    symlink(&secret, reports.join("index.csv")).unwrap();
    is_refused(&rig, path("by-tag.csv").as_bytes()).await;
    is_refused(&rig, b"/reports/one/index.csv").await;
    assert_eq!(rig.get(&path("by-vm.csv")).await.0, 200);
    // A whole revision that lies elsewhere.
    let elsewhere = folder.path().join("elsewhere");
    fs::rename(&r01, &elsewhere).unwrap();
    symlink(&elsewhere, &r01).unwrap();
    is_refused(&rig, path("control.csv").as_bytes()).await;
    fs::remove_file(&r01).unwrap();
    fs::rename(&elsewhere, &r01).unwrap();
    assert_eq!(rig.get(&path("control.csv")).await.0, 200);
    // A manifest that lists what is not of the report.
    let manifest = r01.join(name("manifest.json"));
    let text = fs::read_to_string(&manifest).unwrap();
    for other in [
        "../../../../secret.txt".to_owned(),
        format!("{}/../../../../../secret.txt", name("x")),
        secret.display().to_string(),
    ] {
        fs::write(&manifest, text.replacen(&name("control.csv"), &other, 1)).unwrap();
        is_refused(&rig, b"/reports/one/2026-09/r01/secret.txt").await;
        is_refused(&rig, path("manifest.json").as_bytes()).await;
    }
}
