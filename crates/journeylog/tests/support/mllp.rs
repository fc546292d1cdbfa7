//! A sender of HL7 over MLLP, and the site that it sends to.

use super::{Backends, Server, free_port};
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The key of the pseudonyms.
pub const KEY: &str = "0123456789abcdef0123456789abcdef";
pub const SITE: &str = "zone = \"Asia/Seoul\"\nsite = \"main\"\n[authorities.main]\naliases = [\"HOSP\"]\nrank = 1\n[hl7]\ncurrency = \"KRW\"\n";

/// A site file, and where HL7 is taken.
pub struct Site {
    pub file: PathBuf,
    pub listen: String,
}

impl Site {
    pub fn of(b: &Backends) -> Self {
        let file = b.dir.path().join("site.toml");
        std::fs::write(&file, SITE).unwrap();
        Self { file, listen: format!("127.0.0.1:{}", free_port()) }
    }

    pub fn spawn(&self, b: &Backends, args: &[&str], more: &[(&str, &str)]) -> Server {
        let file = self.file.display().to_string();
        let quarantine = format!("sqlite:{}", b.dir.path().join("quarantine.db").display());
        let own = [
            ("JOURNEYLOG_SITE__FILE", file.as_str()),
            ("JOURNEYLOG_PSEUDONYM_KEY", KEY),
            ("JOURNEYLOG_HL7__LISTEN", &self.listen),
            ("JOURNEYLOG_HL7__QUARANTINE", &quarantine),
        ];
        b.spawn(args, &[&own, more].concat())
    }

    pub async fn start(&self, b: &Backends, args: &[&str], more: &[(&str, &str)]) -> Server {
        let server = self.spawn(b, args, more);
        server.ready().await;
        server
    }

    pub fn patient(number: &str) -> String {
        let site = std::sync::Arc::new(ingest::Site::parse(SITE).unwrap());
        ingest::Pseudonyms::new(KEY.as_bytes(), site).unwrap().patient("main", number)
    }
}

/// A block of a message.
pub fn frame(message: &str) -> Vec<u8> {
    [b"\x0b", message.as_bytes(), b"\x1c\r"].concat()
}

/// A connection.
pub struct Sender(pub TcpStream);

impl Sender {
    pub async fn open(listen: &str) -> Option<Self> {
        let io = TcpStream::connect(listen).await.ok()?;
        io.set_nodelay(true).ok()?;
        Some(Self(io))
    }

    /// The next answer; `None` where the connection ends, or nothing comes in time.
    pub async fn answer(&mut self, patience: Duration) -> Option<String> {
        tokio::time::timeout(patience, async {
            let mut text = Vec::new();
            loop {
                match self.0.read_u8().await.ok()? {
                    0x0b => text.clear(),
                    0x1c => break,
                    byte => text.push(byte),
                }
            }
            self.0.read_u8().await.ok()?;
            String::from_utf8(text).ok()
        })
        .await
        .ok()?
    }

    /// Sends a message and waits for its answer.
    pub async fn send(&mut self, message: &str, patience: Duration) -> Option<String> {
        self.0.write_all(&frame(message)).await.ok()?;
        self.answer(patience).await
    }
}

/// Code and id of an answer's MSA.
pub fn msa(answer: &str) -> (String, String) {
    let msa = answer.split('\r').find(|l| l.starts_with("MSA")).unwrap();
    let mut fields = msa.split('|').skip(1).map(str::to_owned);
    (fields.next().unwrap(), fields.next().unwrap())
}

/// A visit of a patient: admitted, moved, sent home by turns.
pub fn visit(trigger: &str, id: &str, patient: &str) -> String {
    format!(
        "MSH|^~\\&|ADT|HOSP|JL|HOSP|20260302090000+0900||ADT^{trigger}|{id}|P|2.5\rEVN||20260302090000+0900\r\
         PID|1||{patient}^^^HOSP^MR||Kim^Minsu\rPV1|1|I|W1^2^3|||||||SUR|||||||||V-{patient}\r"
    )
}
