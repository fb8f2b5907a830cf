//! A scripted HTTP/1.1 server on a raw socket: it can do everything that a server should not.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub headers: BTreeMap<String, String>,
}

impl Request {
    /// `start` and `results` of the range header.
    pub fn range(&self) -> Option<(usize, usize)> {
        let (start, results) = self.headers.get("ranged-data")?.split_once(',')?;
        let number = |text: &str, name| text.strip_prefix(name)?.parse().ok();
        Some((number(start, "start=")?, number(results, "results=")?))
    }
}

/// What the server does with a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Sends these bytes and waits for the next request.
    Whole(Vec<u8>),
    /// Sends these bytes and closes the connection.
    Cut(Vec<u8>),
    /// Sends these bytes, then nothing, and keeps the connection open.
    Stall(Vec<u8>),
    /// Sends these bytes, then one byte each time this long has passed.
    Drip(Vec<u8>, Duration),
    /// Sends these bytes, then chunks of this for ever.
    Endless(Vec<u8>, Vec<u8>),
    /// Waits, then replies.
    After(Duration, Box<Reply>),
}

/// An answer with a status, further header lines (each ended by CRLF) and a body.
pub fn answer(status: u16, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut bytes =
        format!("HTTP/1.1 {status} Status\r\nContent-Length: {}\r\n{headers}\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

pub fn status(status: u16, headers: &str, body: impl AsRef<[u8]>) -> Reply {
    Reply::Whole(answer(status, headers, body))
}

pub fn json(value: &Value) -> Reply {
    status(200, "Content-Type: application/json\r\n", value.to_string())
}

pub struct Server {
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    sent: Arc<AtomicU64>,
    most_at_once: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Server {
    /// Answers each request with what `reply` says; it is also told how many came before it.
    pub async fn start(reply: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, sent) = (Arc::<Mutex<Vec<Request>>>::default(), Arc::<AtomicU64>::default());
        let (at_once, most_at_once) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let reply = Arc::new(reply);
        let state = (Arc::clone(&requests), Arc::clone(&sent), at_once, Arc::clone(&most_at_once));
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (reply, (requests, sent, at_once, most)) = (Arc::clone(&reply), state.clone());
                connections.spawn(async move {
                    let mut stream = BufReader::new(stream);
                    while let Some(request) = read(&mut stream).await {
                        let reply = {
                            let mut requests = requests.lock().unwrap();
                            requests.push(request.clone());
                            let before = requests.len() - 1;
                            drop(requests);
                            reply(&request, before)
                        };
                        most.fetch_max(at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        let open = write(stream.get_mut(), reply, &sent).await;
                        at_once.fetch_sub(1, Ordering::SeqCst);
                        if open.is_none() {
                            break;
                        }
                    }
                });
            }
        });
        Self { address, requests, sent, most_at_once, task }
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    /// Bytes of bodies sent by [`Reply::Endless`].
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }

    /// Most requests that were being answered at one time.
    pub fn most_at_once(&self) -> usize {
        self.most_at_once.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok().filter(|length| *length > 0)?;
    let mut words = line.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok().filter(|length| *length > 0)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    Some(Request { method, target, headers })
}

/// `None` once the connection is done.
async fn write(stream: &mut TcpStream, reply: Reply, sent: &AtomicU64) -> Option<()> {
    match reply {
        Reply::Whole(bytes) => stream.write_all(&bytes).await.ok(),
        Reply::Cut(bytes) => {
            stream.write_all(&bytes).await.ok()?;
            stream.shutdown().await.ok()?;
            None
        }
        Reply::Stall(bytes) => {
            stream.write_all(&bytes).await.ok()?;
            // Until the other side gives up.
            stream.read_to_end(&mut Vec::new()).await.ok()?;
            None
        }
        Reply::Drip(bytes, every) => {
            stream.write_all(&bytes).await.ok()?;
            loop {
                tokio::time::sleep(every).await;
                stream.write_all(b" ").await.ok()?;
            }
        }
        Reply::Endless(bytes, chunk) => {
            stream.write_all(&bytes).await.ok()?;
            loop {
                stream.write_all(&chunk).await.ok()?;
                sent.fetch_add(chunk.len() as u64, Ordering::SeqCst);
            }
        }
        Reply::After(wait, reply) => {
            tokio::time::sleep(wait).await;
            Box::pin(write(stream, *reply, sent)).await
        }
    }
}
