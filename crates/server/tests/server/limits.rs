//! What the REST API does with clients that are too slow, too many or too fast.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ring_api::client::ClientError;
use ring_server::node::{ApiSettings, ApiTlsMode, CallerLimits, DoorLimits, Settings};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Api, Control, eventually, job};

const SHORT: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(20);

fn with_door(door: DoorLimits) -> Settings {
    Settings { api: ApiSettings { door, ..ApiSettings::default() }, ..Settings::default() }
}

pub(crate) fn with_callers(callers: CallerLimits) -> Settings {
    Settings { api: ApiSettings { callers, ..ApiSettings::default() }, ..Settings::default() }
}

/// Sends `text`, then `more` again and again; what came back until the server hung up, and after how long.
async fn trickle(api: SocketAddr, text: &str, more: &[u8]) -> (String, Duration) {
    let (mut reader, mut writer) = TcpStream::connect(api).await.unwrap().into_split();
    let start = Instant::now();
    writer.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let writing = async {
        while writer.write_all(more).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        std::future::pending::<()>().await;
    };
    let reading = async {
        // A connection that is reset has said what it had to say.
        let _ = reader.read_to_end(&mut answer).await;
    };
    let both = async {
        tokio::select! {
            () = reading => {}
            () = writing => {}
        }
    };
    tokio::time::timeout(PATIENCE, both).await.expect("the server hangs up");
    (String::from_utf8_lossy(&answer).into_owned(), start.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_trickles_in_is_ended() {
    let control = Control::first_with(with_door(DoorLimits { head: SHORT, ..DoorLimits::default() })).await;
    let (_, took) = trickle(control.api, "GET /healthz HTTP/1.1\r\nhost: x\r\nx-slow: ", b"a").await;
    assert!(took >= SHORT * 9 / 10, "{took:?}");
    let (_, took) = trickle(control.api, "", b"").await;
    assert!(took >= SHORT * 9 / 10, "one that says nothing: {took:?}");
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tls_handshake_that_does_not_come_is_ended() {
    let door = DoorLimits { handshake: SHORT, ..DoorLimits::default() };
    let api = ApiSettings { tls: ApiTlsMode::Cluster, door, ..ApiSettings::default() };
    let control = Control::first_with(Settings { api, ..Settings::default() }).await;
    // The beginning of a record that promises 512 bytes.
    let (_, took) = trickle(control.api, "\u{16}\u{3}\u{1}\u{2}", b"").await;
    assert!(took >= SHORT * 9 / 10, "{took:?}");
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_are_too_large_are_refused() {
    let control = Control::first().await;
    let lines = (0..200).map(|n| format!("x-{n}: y")).collect::<Vec<_>>().join("\r\n") + "\r\n";
    let (answer, _) = trickle(control.api, &format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{lines}\r\n"), b"").await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let long = "y".repeat(100 << 10);
    let (answer, _) = trickle(control.api, &format!("GET /healthz HTTP/1.1\r\nhost: x\r\nx: {long}\r\n\r\n"), b"").await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    eventually("the count", async || refusals_of(&control, "head").await == 2).await;
    control.stop().await;
}

fn post(token: &str, length: usize) -> String {
    format!(
        "POST /deployments HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         connection: close\r\ncontent-length: {length}\r\n\r\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_trickles_in_is_ended_and_one_that_comes_on_is_not() {
    let limits = CallerLimits { body: SHORT * 3, body_silence: SHORT, ..CallerLimits::default() };
    let control = Control::first_with(with_callers(limits)).await;
    let admin = control.admin().await;
    // It never stops for long, and is never whole.
    let (answer, took) = trickle(control.api, &post(admin.token(), 1 << 20), b" ").await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("request.slow"), "{answer}");
    assert!(took >= SHORT * 29 / 10, "{took:?}");
    // It stops.
    let (answer, took) = trickle(control.api, &post(admin.token(), 1 << 20), b"").await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && took < SHORT * 3, "{took:?} {answer}");
    assert_eq!(refusals_of(&control, "body").await, 2);
    // 4 MiB in pieces, at a rate a slow line has.
    let body = job("ns", "one").to_string();
    let size = (4 << 20) - 1024;
    let padded = format!("{body}{}", " ".repeat(size - body.len()));
    let mut tcp = TcpStream::connect(control.api).await.unwrap();
    tcp.write_all(post(admin.token(), size).as_bytes()).await.unwrap();
    for piece in padded.as_bytes().chunks(size / 16 + 1) {
        tcp.write_all(piece).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_so_many_connections() {
    let control = Control::first_with(with_door(DoorLimits { connections_per_address: 3, ..DoorLimits::default() })).await;
    let api = control.api;
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(TcpStream::connect(api).await.unwrap());
    }
    for request in ["", "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"] {
        let (answer, took) = trickle(api, request, b"").await;
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("\r\nretry-after: 5\r\n"), "{answer}");
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert!(body["code"] == "server.busy" && took < PATIENCE / 2, "{body} {took:?}");
    }
    open.pop();
    eventually("a place", async || {
        let (answer, _) = trickle(api, "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", b"").await;
        answer.starts_with("HTTP/1.1 200 ")
    })
    .await;
    drop(open);
    eventually("the count", async || refusals_of(&control, "connections").await >= 2).await;
    control.stop().await;
}

/// Where there are no places for the farewell of one more, or TLS is spoken, it is closed without a word.
#[tokio::test(flavor = "multi_thread")]
async fn over_tls_a_connection_too_many_is_closed_without_a_word() {
    let door = DoorLimits { connections_per_address: 1, ..DoorLimits::default() };
    let api = ApiSettings { tls: ApiTlsMode::Cluster, door, ..ApiSettings::default() };
    let control = Control::first_with(Settings { api, ..Settings::default() }).await;
    let held = TcpStream::connect(control.api).await.unwrap();
    let (answer, _) = trickle(control.api, "", b"").await;
    assert_eq!(answer, "");
    drop(held);
    control.stop().await;
}

/// How often a limit was run into, as the node's figures say.
async fn refusals_of(control: &Control, limit: &str) -> u64 {
    let text = control.anonymous().get("/metrics").await.expect(200);
    let line = format!("ring_requests_refused_total{{limit=\"{limit}\"}} ");
    text.as_str().unwrap().lines().find_map(|found| found.strip_prefix(&line)).unwrap().parse().unwrap()
}

/// How many of so many requests at once are let through; the last refusal is looked at.
async fn admitted(api: &Api, path: &str, count: usize) -> usize {
    let answers = futures::future::join_all((0..count).map(|_| api.get(path))).await;
    for refused in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!((refused.status, refused.code()), (429, "request.too_many"));
        assert!(refused.headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap() >= 1);
    }
    answers.iter().filter(|answer| answer.status == 200).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_makes_so_many_requests_and_others_are_not_in_its_way() {
    let limits = CallerLimits { requests_per_second: 2, ..CallerLimits::default() };
    let control = Control::first_with(with_callers(limits)).await;
    let admin = control.admin().await;
    let token = admin.post("/tokens", &json!({ "name": "t", "scopes": ["admin"] })).await.expect(200);
    let other = admin.with_token(token["token"].as_str().unwrap());
    let through = admitted(&admin, "/users/me", 60).await;
    assert!((1..30).contains(&through), "{through} of 60");
    other.get("/users/me").await.expect(200);
    assert_eq!((refusals_of(&control, "requests").await, refusals_of(&control, "anonymous").await), (60 - through as u64, 0));
    // The client of the command line waits as long as it is told to.
    admin.client().me().await.unwrap();
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_makes_so_many_requests_without_a_token() {
    let limits = CallerLimits { anonymous_per_second: 4, ..CallerLimits::default() };
    let control = Control::first_with(with_callers(limits)).await;
    let admin = control.admin().await;
    let through = admitted(&control.anonymous(), "/healthz", 100).await;
    assert!((1..60).contains(&through), "{through} of 100");
    let unknown = control.anonymous().with_token("ring_pat_nothing").get("/users/me").await;
    assert!(matches!(unknown.status, 401 | 429), "{}", unknown.status);
    admin.get("/users/me").await.expect(200);
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_has_so_many_streams() {
    let control = Control::first_with(with_callers(CallerLimits { streams_per_token: 2, ..CallerLimits::default() })).await;
    let admin = control.admin().await;
    let applied = admin.post("/deployments", &job("ns", "one")).await.expect(200);
    let id = applied["deployments"][0]["id"].as_str().unwrap().to_owned();
    let mut open: Vec<_> = Vec::new();
    for _ in 0..2 {
        let mut events = admin.client().follow_events(id.parse().unwrap(), &ring_api::query::EventQuery::default());
        events.next().await.unwrap().unwrap();
        open.push(events);
    }
    let path = format!("/deployments/{id}/events?follow=true");
    let refused = admin.get(&path).await;
    assert_eq!((refused.status, refused.code()), (429, "request.too_many"));
    assert_eq!(refusals_of(&control, "streams").await, 1);
    assert!(refused.body["detail"].as_str().unwrap().contains("2 streams"), "{}", refused.body);
    match admin.client().follow_logs(id.parse().unwrap(), &ring_api::query::LogQuery::default()).next().await.unwrap_err() {
        ClientError::Problem(problem) => assert_eq!(problem.status, 429),
        other => panic!("{other}"),
    }
    open.pop();
    eventually("a place", async || {
        let mut events = admin.client().follow_events(id.parse().unwrap(), &ring_api::query::EventQuery::default());
        events.next().await.is_ok()
    })
    .await;
    control.stop().await;
}
