//! A web server on loopback, and a bucket behind one that speaks as much of S3 as the `object_store` crate asks for.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// What a client asked.
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query, as they were sent.
    pub(crate) target: String,
    /// Lower case.
    pub(crate) headers: Vec<String>,
    pub(crate) body: Vec<u8>,
}

/// An answer of a server: its status line, and the body with the length to announce for it.
pub(crate) struct Reply {
    pub(crate) status: &'static str,
    pub(crate) length: u64,
    pub(crate) body: Vec<u8>,
}

pub(crate) fn whole(body: &[u8]) -> Reply {
    Reply { status: "200 OK", length: body.len() as u64, body: body.to_vec() }
}

pub(crate) fn status(status: &'static str) -> Reply {
    Reply { status, length: 0, body: Vec::new() }
}

fn read(stream: &TcpStream) -> Request {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let lines = reader.by_ref().lines().map_while(Result::ok);
    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let mut words = head.first().map_or("", String::as_str).split(' ').map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let headers: Vec<String> = head.iter().skip(1).map(|line| line.to_ascii_lowercase()).collect();
    let length = headers.iter().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = Vec::new();
    // Who hangs up has said what it had to say.
    reader.take(length.unwrap_or(0)).read_to_end(&mut body).unwrap_or_default();
    Request { method, target, headers, body }
}

/// Answers requests by what was asked and their number, from 0, until the test ends.
pub(crate) fn serve(answer: impl Fn(&Request, usize) -> Reply + Send + 'static) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, count) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let Reply { status, length, body } = answer(&read(&stream), counted.fetch_add(1, Ordering::SeqCst));
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nLast-Modified: Sat, 21 Nov 2026 12:00:00 GMT\r\n\
                 ETag: \"1\"\r\nConnection: close\r\n\r\n"
            );
            // Who has seen enough hangs up.
            stream.write_all(&[head.as_bytes(), &body].concat()).unwrap_or_default();
        }
    });
    (address, count)
}

/// A bucket called `fleet`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bucket {
    pub(crate) objects: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    /// It answers 503 meanwhile.
    pub(crate) is_away: Arc<AtomicBool>,
}

/// Objects on one page of a listing.
const PAGE: usize = 2;

impl Bucket {
    /// Serves it until the test ends.
    pub(crate) fn serve(&self) -> SocketAddr {
        let bucket = self.clone();
        serve(move |request, _| bucket.answer(request)).0
    }

    fn answer(&self, request: &Request) -> Reply {
        if self.is_away.load(Ordering::SeqCst) {
            return status("503 Service Unavailable");
        }
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let key = decoded(path).strip_prefix("/fleet").unwrap().trim_start_matches('/').to_owned();
        let mut objects = self.objects.lock().unwrap();
        match (request.method.as_str(), key.is_empty()) {
            ("PUT", false)
                if request.headers.contains(&"if-none-match: *".to_owned()) && objects.contains_key(&key) =>
            {
                status("412 Precondition Failed")
            }
            ("PUT", false) => {
                objects.insert(key, request.body.clone());
                status("200 OK")
            }
            ("GET", false) => objects.get(&key).map_or(status("404 Not Found"), |bytes| whole(bytes)),
            ("GET", true) => list(&objects, query),
            ("POST", true) if query == "delete" => delete(&mut objects, &request.body),
            _ => status("501 Not Implemented"),
        }
    }
}

fn list(objects: &BTreeMap<String, Vec<u8>>, query: &str) -> Reply {
    let value = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(own, _)| *own == name).map(|(_, value)| decoded(value)).unwrap_or_default()
    };
    let (prefix, after) = (value("prefix"), value("continuation-token"));
    let mut found = objects.iter().filter(|(key, _)| key.starts_with(&prefix) && **key > after);
    let page: Vec<_> = found.by_ref().take(PAGE).collect();
    let entry = |(key, bytes): &(&String, &Vec<u8>)| {
        let length = bytes.len();
        format!(
            "<Contents><Key>{key}</Key><Size>{length}</Size><LastModified>2026-11-21T12:00:00Z</LastModified></Contents>"
        )
    };
    let contents: String = page.iter().map(entry).collect();
    let next = page.last().filter(|_| found.next().is_some());
    let next = next.map(|(key, _)| format!("<NextContinuationToken>{key}</NextContinuationToken>")).unwrap_or_default();
    whole(format!("<ListBucketResult>{contents}{next}</ListBucketResult>").as_bytes())
}

fn delete(objects: &mut BTreeMap<String, Vec<u8>>, body: &[u8]) -> Reply {
    let body = String::from_utf8_lossy(body);
    let mut answer = String::new();
    for key in body.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next()) {
        objects.remove(key);
        answer += &format!("<Deleted><Key>{key}</Key></Deleted>");
    }
    whole(format!("<DeleteResult>{answer}</DeleteResult>").as_bytes())
}

/// Percent-decoded.
fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut out = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_at(2);
        out.push(u8::from_str_radix(code, 16).unwrap());
        out.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(out).unwrap()
}
