//! Speaks HTTP/1.1 over rustls. It is built for tests of vetch with each version of rustls that Debian has; what differs in these is in config_*.rs.
//!
//!     talk serve threads|tasks ADDRESS CERT KEY    (DER, PKCS#8)
//!     talk ask threads|tasks ADDRESS CONNECTIONS REQUESTS [WAIT]
//!
//! "threads" is rustls itself on blocking sockets, a thread for each connection; "tasks" is tokio-rustls on two threads. REQUESTS are asked
//! on each connection. With WAIT it prints "ready" when all connections have asked once, goes on when it reads a line, and prints "done".
use std::io::{BufRead, BufReader, IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Barrier};

use config::{client_config, server_config};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, StreamOwned};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};

#[cfg(not(feature = "since_0_22"))]
#[path = "config_0_20.rs"]
mod config;
#[cfg(feature = "since_0_22")]
#[path = "config_0_22.rs"]
mod config;

const PATHS: [&str; 3] = ["/ok", "/no", "/long"];

/// The head and the body of the answer to a request line.
fn answer(line: &str) -> (String, String) {
    let (status, body) = match line.split(' ').nth(1) {
        Some("/no") => ("404 Not Found", "no".to_string()),
        Some("/long") => ("200 OK", "x".repeat(300_000)),
        _ => ("200 OK", "ok".to_string()),
    };
    (format!("HTTP/1.1 {}\r\nContent-Length: {}\r\n\r\n", status, body.len()), body)
}

fn request(i: usize) -> String {
    format!("GET {} HTTP/1.1\r\nHost: talk\r\n\r\n", PATHS[i % PATHS.len()])
}

fn length(line: &str) -> Option<usize> {
    line.strip_prefix("Content-Length: ").map(|n| n.trim().parse().unwrap())
}

fn serve_threads(address: &str, config: Arc<ServerConfig>) {
    for tcp in TcpListener::bind(address).unwrap().incoming() {
        let (tcp, config) = (tcp.unwrap(), config.clone());
        std::thread::spawn(move || {
            let mut s = BufReader::new(StreamOwned::new(ServerConnection::new(config).unwrap(), tcp));
            loop {
                let (mut first, mut line) = (String::new(), String::new());
                if s.read_line(&mut first).unwrap_or(0) == 0 {
                    return;
                }
                while s.read_line(&mut line).unwrap_or(0) > 2 {
                    line.clear();
                }
                let (head, body) = answer(&first);
                let n = s.get_mut().write_vectored(&[IoSlice::new(head.as_bytes()), IoSlice::new(body.as_bytes())]).unwrap();
                let rest = body.len() - (n - head.len()); // what does not fit is taken when there is room
                s.get_mut().write_all(&body.as_bytes()[body.len() - rest..]).unwrap();
            }
        });
    }
}

async fn serve_tasks(address: &str, config: Arc<ServerConfig>) {
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(config);
    loop {
        let (tcp, acceptor) = (listener.accept().await.unwrap().0, acceptor.clone());
        tokio::spawn(async move {
            let mut s = match acceptor.accept(tcp).await {
                Ok(s) => tokio::io::BufReader::new(s),
                Err(_) => return, // somebody who only looks whether it listens
            };
            loop {
                let (mut first, mut line) = (String::new(), String::new());
                if s.read_line(&mut first).await.unwrap_or(0) == 0 {
                    return;
                }
                while s.read_line(&mut line).await.unwrap_or(0) > 2 {
                    line.clear();
                }
                let (head, body) = answer(&first);
                s.write_all(head.as_bytes()).await.unwrap();
                s.write_all(body.as_bytes()).await.unwrap();
                s.flush().await.unwrap();
            }
        });
    }
}

fn ask_threads(address: &str, config: Arc<ClientConfig>, requests: usize, ready: &Barrier, go: &Barrier) {
    let name = "localhost".try_into().unwrap();
    let mut s = BufReader::new(StreamOwned::new(ClientConnection::new(config, name).unwrap(), TcpStream::connect(address).unwrap()));
    for i in 0..requests {
        if i == 1 {
            ready.wait();
            go.wait();
        }
        s.get_mut().write_all(request(i).as_bytes()).unwrap();
        let (mut line, mut n) = (String::new(), 0);
        while s.read_line(&mut line).unwrap() > 2 {
            n = length(&line).unwrap_or(n);
            line.clear();
        }
        s.read_exact(&mut vec![0; n]).unwrap();
    }
}

async fn ask_tasks(address: String, config: Arc<ClientConfig>, requests: usize) {
    let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
    let tls = tokio_rustls::TlsConnector::from(config).connect("localhost".try_into().unwrap(), tcp).await.unwrap();
    let mut s = tokio::io::BufReader::new(tls);
    for i in 0..requests {
        s.write_all(request(i).as_bytes()).await.unwrap();
        s.flush().await.unwrap();
        let (mut line, mut n) = (String::new(), 0);
        while s.read_line(&mut line).await.unwrap() > 2 {
            n = length(&line).unwrap_or(n);
            line.clear();
        }
        s.read_exact(&mut vec![0; n]).await.unwrap();
    }
}

fn main() {
    std::panic::set_hook(Box::new(|why| {
        eprintln!("{}", why);
        std::process::exit(1); // whichever thread it was
    }));
    let args: Vec<String> = std::env::args().collect();
    let (threads, address) = (args[2] == "threads", args[3].clone());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_io().build().unwrap();
    if args[1] == "serve" {
        let config = server_config(std::fs::read(&args[4]).unwrap(), std::fs::read(&args[5]).unwrap());
        return if threads { serve_threads(&address, config) } else { runtime.block_on(serve_tasks(&address, config)) };
    }
    let (connections, requests, wait) = (args[4].parse().unwrap(), args[5].parse().unwrap(), args.len() > 6);
    // every other connection is of TLS 1.2, whatever the server has
    let configs = [client_config(rustls::ALL_VERSIONS), client_config(&[&rustls::version::TLS12])];
    if !threads {
        return runtime.block_on(async {
            let tasks: Vec<_> = (0..connections).map(|i| tokio::spawn(ask_tasks(address.clone(), configs[i % 2].clone(), requests))).collect();
            for t in tasks {
                t.await.unwrap();
            }
        });
    }
    let (ready, go) = (Barrier::new(connections + 1), Barrier::new(connections + 1));
    std::thread::scope(|scope| {
        for i in 0..connections {
            let (address, config, ready, go) = (&address, configs[i % 2].clone(), &ready, &go);
            scope.spawn(move || ask_threads(address, config, requests, ready, go));
        }
        if requests > 1 {
            ready.wait();
            if wait {
                println!("ready");
                std::io::stdin().read_line(&mut String::new()).unwrap();
            }
            go.wait();
        }
    });
    println!("done");
}
