//! Clients that are silent, slow, mad or too many.

use std::io::{BufRead as _, ErrorKind, Read as _, Write as _};
use std::net::TcpStream as Blocking;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use flexvm_exporter::web::Limits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::pki::Authority;
use crate::program::{self, Program, free_port};
use crate::rig::{PATIENCE, client, plain, serve, until};

/// So short that waiting for them takes no time.
fn short() -> Limits {
    Limits {
        header: Duration::from_millis(300),
        handshake: Duration::from_millis(300),
        stall: Duration::from_millis(300),
        idle: Duration::from_millis(600),
        connections: 8,
    }
}

/// Reads to the end of the connection; how many bytes came.
async fn ends(stream: &mut TcpStream) -> usize {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    // A reset is an end, too.
    let _ = read.expect("the server ends it");
    bytes.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_are_ended() {
    let folder = tempfile::tempdir().unwrap();
    let serving = serve(folder.path(), short()).await;
    for beginning in ["", "GET /metrics HTTP/1.1\r\nHost: a\r\nX-Slow: "] {
        let mut stream = TcpStream::connect(&serving.address).await.unwrap();
        stream.write_all(beginning.as_bytes()).await.unwrap();
        assert_eq!(ends(&mut stream).await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_will_send_no_more_gets_a_whole_answer() {
    let folder = tempfile::tempdir().unwrap();
    let serving = serve(folder.path(), Limits::default()).await;
    for path in ["/", "/metrics"] {
        let mut whole = Vec::new();
        for sends_no_more in [false, true] {
            let mut stream = TcpStream::connect(&serving.address).await.unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            if sends_no_more {
                stream.shutdown().await.unwrap();
            }
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{path}: {answer:.200}");
            whole.push(answer.lines().count());
        }
        assert_eq!(whole[0], whole[1], "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_nobody_wants_is_read_as_far_as_it_comes() {
    let folder = tempfile::tempdir().unwrap();
    let serving = serve(folder.path(), short()).await;
    let head = "POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n";
    let get = "GET /-/healthy HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let mut stream = TcpStream::connect(&serving.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b'x'; 100_000]).await.unwrap();
    stream.write_all(get.as_bytes()).await.unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).await.unwrap();
    // The connection was still good for the second.
    assert!(answers.starts_with("HTTP/1.1 405 ") && answers.contains("HTTP/1.1 200 OK"), "{answers}");
    // One whose body does not come is told the same, in the end.
    let mut stream = TcpStream::connect(&serving.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_without_number_do_not_keep_a_scraper_out() {
    let folder = tempfile::tempdir().unwrap();
    // Nobody's time runs out while this test waits.
    let serving = serve(folder.path(), Limits { connections: 8, ..Limits::default() }).await;
    let scraper = plain();
    let scrape = async || {
        let answer = scraper.get(format!("http://{}/metrics", serving.address)).send().await;
        answer.is_ok_and(|answer| answer.status() == 200)
    };
    let silent: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: a\r\nX-Slow: ";
    let slow = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2_000);
    for sent in [silent, &slow] {
        let mut clients = Vec::new();
        // Five times as many as have a place.
        for _ in 0..40 {
            let mut stream = TcpStream::connect(&serving.address).await.unwrap();
            // It does not read, so that not all of this may be taken.
            let _ = tokio::time::timeout(Duration::from_millis(50), stream.write_all(sent)).await;
            clients.push(stream);
            assert!(scrape().await, "with {} clients", clients.len());
        }
        // Those that came first had to go.
        ends(&mut clients[0]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_may_not_be_taken_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { idle: Duration::from_millis(600), ..Limits::default() };
    let serving = serve(folder.path(), limits).await;
    let mut stream = TcpStream::connect(&serving.address).await.unwrap();
    let requests = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2_000);
    let _ = tokio::time::timeout(Duration::from_millis(200), stream.write_all(requests.as_bytes())).await;
    // A byte now and then is no stall, and yet it comes to an end.
    cut_off(&mut stream, async |stream| stream.read_exact(&mut [0; 10]).await.is_ok()).await;
}

/// Waits until the server has ended a connection on which it had more to say; `meanwhile` goes on as
/// long as it can.
async fn cut_off(stream: &mut TcpStream, mut meanwhile: impl AsyncFnMut(&mut TcpStream) -> bool) {
    until("the end of the connection", async || {
        // What was not taken is lost, so the end is an error and not an end of the stream.
        let told = stream.try_write(b"x").is_err_and(|error| error.kind() != ErrorKind::WouldBlock);
        told || !meanwhile(stream).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_does_not_come_makes_room() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    authority.issue().write(folder.path(), "server");
    let rules = "tls_server_config: {cert_file: server.crt, key_file: server.key}\n";
    std::fs::write(folder.path().join("web.yml"), rules).unwrap();
    let serving = serve(folder.path(), short()).await;
    let mut silent = Vec::new();
    for _ in 0..16 {
        silent.push(TcpStream::connect(&serving.address).await.unwrap());
    }
    let https = client(&authority.pem, None, &["h2"]);
    let url = format!("https://{}/metrics", serving.address);
    assert_eq!(https.get(&url).send().await.unwrap().status(), 200);
    for stream in &mut silent {
        assert_eq!(ends(stream).await, 0);
    }
    // An HTTP/2 connection that says nothing more is ended as well, and a new one is made.
    tokio::time::sleep(short().idle * 2).await;
    assert_eq!(https.get(&url).send().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_do_not_read_are_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { stall: Duration::from_millis(300), ..Limits::default() };
    let serving = serve(folder.path(), limits).await;
    let mut stream = TcpStream::connect(&serving.address).await.unwrap();
    // More answers than the kernel's buffers hold, and none is read.
    let requests = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2_000);
    let _ = tokio::time::timeout(Duration::from_secs(1), stream.write_all(requests.as_bytes())).await;
    cut_off(&mut stream, async |_| true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_without_sense_end_their_connection_alone() {
    let folder = tempfile::tempdir().unwrap();
    let serving = serve(folder.path(), short()).await;
    let mut random = fastrand::Rng::with_seed(7);
    for round in 0..400 {
        let mut bytes: Vec<u8> = (0..random.usize(1..2_000)).map(|_| random.u8(..)).collect();
        if round % 4 == 0 {
            bytes.splice(0..0, *b"GET /metrics?collect[]=%ff HTTP/1.1\r\nHost: a\r\n");
        }
        let mut stream = TcpStream::connect(&serving.address).await.unwrap();
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        ends(&mut stream).await;
    }
    // A head without end is refused, however much of it is sent.
    let mut stream = TcpStream::connect(&serving.address).await.unwrap();
    let head = [b"GET /metrics HTTP/1.1\r\nX: ".to_vec(), vec![b'a'; 4 << 20]].concat();
    let _ = stream.write_all(&head).await;
    assert!(ends(&mut stream).await < 4_096);
    let answer = plain().get(format!("http://{}/metrics", serving.address)).send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

/// The program itself, with nothing to poll.
fn exporter(folder: &Path, shell: &str, environment: &[(&str, &str)]) -> Program {
    let log = std::fs::File::create(folder.join("log")).unwrap();
    exporter_that_logs_to(folder, shell, environment, log.into())
}

fn exporter_that_logs_to(folder: &Path, shell: &str, environment: &[(&str, &str)], log: Stdio) -> Program {
    let config = "tenants: [{name: t, base_url: 'http://127.0.0.1:9', token_env: TOKEN}]\n\
                  poll: {capacity: 0s, inventory: 0s, usage: 0s, catalogue: 0s}\n";
    std::fs::write(folder.join("e.yml"), config).unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let exporter = program::exporter();
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(format!("{shell} exec \"$0\" --config.file e.yml --web.listen-address {address} \"$@\""))
        .arg(exporter.get_program())
        .current_dir(folder)
        .env("TOKEN", "none")
        .envs(environment.iter().copied())
        .stderr(log);
    Program::start(command, address)
}

async fn answers(address: &str) -> bool {
    let answer = plain().get(format!("http://{address}/metrics")).send().await;
    answer.is_ok_and(|answer| answer.status() == 200)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_costs_one_connection() {
    let folder = tempfile::tempdir().unwrap();
    let program = exporter(folder.path(), "", &[("FAILPOINTS", "web::answer=2*off->1*panic->off")]);
    until("the daemon", async || TcpStream::connect(&program.address).await.is_ok()).await;
    let mut kept = TcpStream::connect(&program.address).await.unwrap();
    let mut one = [0];
    let ask = b"GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n";
    kept.write_all(ask).await.unwrap();
    kept.read_exact(&mut one).await.unwrap();
    assert!(answers(&program.address).await);
    assert!(!answers(&program.address).await, "this one panicked");
    assert!(answers(&program.address).await);
    kept.write_all(ask).await.unwrap();
    kept.read_exact(&mut one).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn out_of_file_descriptors_it_waits_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let program = exporter(folder.path(), "ulimit -n 64;", &[]);
    until("the daemon", async || answers(&program.address).await).await;
    let mut streams: Vec<Blocking> = Vec::new();
    for _ in 0..100 {
        streams.push(Blocking::connect(&program.address).unwrap());
    }
    let said =
        || std::fs::read_to_string(folder.path().join("log")).unwrap().matches("cannot accept").count();
    until("the complaint", async || said() > 0).await;
    // Clock ticks of user and system, fields 14 and 15; 100 a second.
    let ticks = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", program.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let (before, started) = (ticks(), Instant::now());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let spent = Duration::from_millis((ticks() - before) * 10);
    assert!(spent < started.elapsed() / 2, "{spent:?} of {:?}: it spins", started.elapsed());
    assert_eq!(said(), 1, "once a minute is enough");
    // Whoever asked longest ago has made room.
    until("an answer", async || answers(&program.address).await).await;
    drop(streams);
    assert!(answers(&program.address).await);
}

/// As many bytes as a pipe takes, so that the next write to it waits.
fn fill(pipe: &mut std::io::PipeWriter) {
    let flags = rustix::fs::fcntl_getfl(&*pipe).unwrap();
    rustix::fs::fcntl_setfl(&*pipe, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
    for length in [1 << 16, 1] {
        while pipe.write(&vec![b'x'; length]).is_ok() {}
    }
    rustix::fs::fcntl_setfl(&*pipe, flags).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_reads_holds_nothing_up() {
    let folder = tempfile::tempdir().unwrap();
    let (mut reads, mut writes) = std::io::pipe().unwrap();
    fill(&mut writes);
    let mut program = exporter_that_logs_to(folder.path(), "", &[], writes.into());
    until("the daemon", async || answers(&program.address).await).await;
    for _ in 0..10 {
        program.signal("HUP");
    }
    assert!(answers(&program.address).await);
    program.signal("TERM");
    assert!(program.wait(Duration::from_secs(10)).success());
    // The pipe was full until the end, so it was a full one that held nothing up.
    let mut log = Vec::new();
    reads.read_to_end(&mut log).unwrap();
    assert!(log.iter().all(|byte| *byte == b'x'), "{}", String::from_utf8_lossy(&log));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_of_a_log_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let (mut reads, mut writes) = std::io::pipe().unwrap();
    fill(&mut writes);
    let mut program = exporter_that_logs_to(folder.path(), "set -- --log.level debug;", &[], writes.into());
    until("the daemon", async || answers(&program.address).await).await;
    // Each of them is a line, and more than can wait.
    for _ in 0..10_500 {
        let mut stream = Blocking::connect(&program.address).unwrap();
        stream.write_all(b"no sense\r\n\r\n").unwrap();
        // Only then comes the next: more at once would wait to be accepted.
        let _ = stream.read_to_end(&mut Vec::new());
    }
    assert!(answers(&program.address).await);
    let (said, mut hear) = tokio::sync::oneshot::channel();
    let reader = std::thread::spawn(move || {
        let mut said = Some(said);
        for line in std::io::BufReader::new(&mut reads).lines() {
            if line.unwrap().contains("log lines were lost") {
                let _ = said.take().map(|said| said.send(()));
            }
        }
    });
    until("what was lost", async || hear.try_recv().is_ok()).await;
    program.signal("TERM");
    assert!(program.wait(Duration::from_secs(10)).success());
    reader.join().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_does_not_come_holds_nothing_up() {
    let folder = tempfile::tempdir().unwrap();
    let mut program = exporter(folder.path(), "", &[]);
    until("the daemon", async || answers(&program.address).await).await;
    std::fs::remove_file(folder.path().join("e.yml")).unwrap();
    assert!(Command::new("mkfifo").arg(folder.path().join("e.yml")).status().unwrap().success());
    let mut asked = TcpStream::connect(&program.address).await.unwrap();
    asked.write_all(b"POST /-/reload HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    program.signal("HUP");
    assert!(answers(&program.address).await);
    program.signal("TERM");
    assert!(program.wait(Duration::from_secs(10)).success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_manager_hears_of_readiness_and_leaving() {
    let folder = tempfile::tempdir().unwrap();
    let socket = std::os::unix::net::UnixDatagram::bind(folder.path().join("notify")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let path = folder.path().join("notify").display().to_string();
    let mut program = exporter(folder.path(), "", &[("NOTIFY_SOCKET", &path)]);
    let hear = || {
        let mut bytes = [0; 512];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).trim().to_owned()
    };
    assert_eq!(hear(), "READY=1");
    assert!(answers(&program.address).await, "ready means that it answers");
    program.signal("TERM");
    assert_eq!(hear(), "STOPPING=1");
    assert!(program.wait(PATIENCE).success());
}
