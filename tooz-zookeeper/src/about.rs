//! What the servers say of themselves.
//!
//! The protocol has no word for a version. Servers tell theirs to whoever asks with `srvr` on the plain port, unless their
//! operator has taken that word out of `4lw.commands.whitelist`.

use std::time::Duration;

use futures_util::future::select_ok;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Nobody's opening takes longer than that because of it.
const PATIENCE: Duration = Duration::from_millis(250);
/// More than an answer has.
const LONGEST: u64 = 4_096;

/// Version and kind of the first of these servers that tells; `None` where none does.
pub(crate) async fn ask(servers: &[(String, u16)]) -> Option<String> {
    if servers.is_empty() {
        return None;
    }
    let answers = servers.iter().map(|(name, port)| Box::pin(answer(name, *port)));
    timeout(PATIENCE, select_ok(answers)).await.ok()?.ok().map(|(told, _)| told)
}

async fn answer(name: &str, port: u16) -> std::io::Result<String> {
    let mut line = TcpStream::connect((name, port)).await?;
    line.write_all(b"srvr").await?;
    let mut text = Vec::new();
    line.take(LONGEST).read_to_end(&mut text).await?;
    read(&String::from_utf8_lossy(&text)).ok_or_else(|| std::io::ErrorKind::InvalidData.into())
}

/// Reads the answer to `srvr`. Who leads changes, and another server may have answered than the one that serves us: what
/// is told is whether there are several.
fn read(text: &str) -> Option<String> {
    let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let version = line("Zookeeper version: ")?.split(['-', ',']).next()?.trim();
    let is_version = version.starts_with(|first: char| first.is_ascii_digit())
        && version.chars().all(|letter| letter.is_ascii_digit() || letter == '.');
    let kind = match line("Mode: ")? {
        "standalone" => "standalone",
        _ => "of an ensemble",
    };
    is_version.then(|| format!("zookeeper {version}, {kind}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_and_kind_are_read_and_refusals_are_not() {
        let text = |mode: &str| {
            format!(
                "Zookeeper version: 3.8.0-5a02a05e, built on 2022-02-25\nZxid: 0x1\nMode: {mode}\nNode count: 5\n"
            )
        };
        assert_eq!(read(&text("standalone")).as_deref(), Some("zookeeper 3.8.0, standalone"));
        assert_eq!(read(&text("follower")).as_deref(), Some("zookeeper 3.8.0, of an ensemble"));
        for refused in [
            "srvr is not executed because it is not in the whitelist.\n",
            "This ZooKeeper instance is not currently serving requests\n",
            "Zookeeper version: <b>-1, x\nMode: standalone\n",
            "",
        ] {
            assert_eq!(read(refused), None, "{refused}");
        }
    }

    #[tokio::test]
    async fn the_first_server_that_tells_is_believed_and_nobody_waits_for_the_others() {
        let server = |answer: Option<&'static str>| async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            tokio::spawn(async move {
                let mut silent = Vec::new();
                while let Ok((mut line, _)) = listener.accept().await {
                    line.read_exact(&mut [0; 4]).await.unwrap();
                    match answer {
                        Some(text) => line.write_all(text.as_bytes()).await.unwrap(),
                        None => silent.push(line),
                    }
                }
            });
            ("127.0.0.1".to_owned(), port)
        };
        let silent = server(None).await;
        let mute = server(Some("srvr is not executed because it is not in the whitelist.\n")).await;
        let open = server(Some("Zookeeper version: 3.9.1-x, y\nMode: leader\n")).await;
        assert_eq!(ask(&[]).await, None);
        assert_eq!(ask(&[silent.clone(), mute.clone()]).await, None);
        let told = tokio::time::timeout(Duration::from_secs(20), ask(&[silent, mute, open])).await.unwrap();
        assert_eq!(told.as_deref(), Some("zookeeper 3.9.1, of an ensemble"));
    }
}
