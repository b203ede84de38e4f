//! Just enough HTTP to ask a program's REST interface: one request a connection, as HTTP/1.0, so that no answer comes in chunks.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// How long a REST interface may think: Connect's waits up to 90 s for its group.
const PATIENCE: Duration = Duration::from_secs(100);

/// An answer.
#[derive(Debug)]
pub struct HttpAnswer {
    /// 200 and so on.
    pub status: u16,
    /// What is behind the headers.
    pub body: String,
}

/// Asks whoever listens on this port of 127.0.0.1; a body goes out as JSON.
///
/// # Errors
/// Fails when nobody listens, answers, or speaks HTTP.
pub fn http(port: u16, method: &str, path: &str, body: &str) -> Result<HttpAnswer> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nAccept: application/json\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse(&String::from_utf8_lossy(&answer))
}

fn parse(answer: &str) -> Result<HttpAnswer> {
    let strange = || Error::new(ErrorKind::InvalidData, format!("not HTTP: {answer}"));
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(strange)?;
    let mut words = head.split(' ');
    if !words.next().is_some_and(|it| it.starts_with("HTTP/1.")) {
        return Err(strange());
    }
    let status = words.next().and_then(|it| it.parse().ok()).ok_or_else(strange)?;
    Ok(HttpAnswer {
        status,
        body: body.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_its_status_and_what_is_behind_the_headers() {
        let answer = parse("HTTP/1.1 201 Created\r\nDate: today\r\n\r\n{\"a\":1}").unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (201, "{\"a\":1}"));
        assert!(parse("SSH-2.0\r\n\r\n").is_err());
        assert!(parse("HTTP/1.1 200 OK\r\n").is_err());
    }
}
