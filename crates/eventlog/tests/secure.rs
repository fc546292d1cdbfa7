//! TLS and SASL by plain librdkafka properties, on a real Kafka with such a port (`JOURNEYLOG_TEST_KAFKA_TLS`, `…_TLS_CA`,
//! `…_TLS_PASSWORD` by tests/servers/kafka.sh): what is right works, and what is wrong is named soon, without the password.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use journeylog_eventlog::relay::{Outgoing, RelayOptions, open_relay};
use journeylog_eventlog::{Delivery, Log, LogError, NewRecord, Options, Record, Start, open, topic};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const PATIENCE: Duration = Duration::from_secs(60);
/// How long brokers are waited for where nothing tells that waiting is of no use; longer than the 3 s after which that is asked.
const LIMIT: Duration = Duration::from_secs(6);
/// How long an answer may take, on a busy machine: those 3 s, or that limit, and not the whole of [`PATIENCE`].
const SOON: Duration = Duration::from_secs(15);
const PARTITIONS: u32 = 2;
const RECORDS: usize = 40;

/// An authority that no broker's certificate is from; nobody has its key.
const STRANGER: &str = "-----BEGIN CERTIFICATE-----
MIIBgTCCASegAwIBAgIUU+/baIhQ19ju489huotbnU/b+XIwCgYIKoZIzj0EAwIw
FTETMBEGA1UEAwwKQSBzdHJhbmdlcjAgFw0yNjExMjIyMjQzNDBaGA8yMTI2MTAy
OTIyNDM0MFowFTETMBEGA1UEAwwKQSBzdHJhbmdlcjBZMBMGByqGSM49AgEGCCqG
SM49AwEHA0IABPtayEi89erU/geKDqzGlG8yAFCfEIvPklwamPi2Kwv+QnD1yIGj
+sctQPGcZH51mpuuTxvaVg1MzJyVWUM2D3ijUzBRMB0GA1UdDgQWBBRKIVAsJMJo
Ua4+Xw+ecsgq9S7qGjAfBgNVHSMEGDAWgBRKIVAsJMJoUa4+Xw+ecsgq9S7qGjAP
BgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIAbBB7YdUAQdk19Ff/VH
Fpf3Ypv1K2KlpMEd/1NQrQQEAiEA94a1XuGNER5j7Pf6X3aSeSMLZQ6JnwifLYDu
xA6uTvI=
-----END CERTIFICATE-----
";

/// The broker's second port.
struct Tls {
    brokers: String,
    ca: String,
    password: String,
}

impl Tls {
    /// `None`, said loudly, where there is none.
    fn port(test: &str) -> Option<Self> {
        let named = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let Some(brokers) = named("JOURNEYLOG_TEST_KAFKA_TLS") else {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "CI has to set JOURNEYLOG_TEST_KAFKA_TLS=host:port");
            eprintln!("SKIPPED {test}: JOURNEYLOG_TEST_KAFKA_TLS=host:port isn't set");
            return None;
        };
        let ca = named("JOURNEYLOG_TEST_KAFKA_TLS_CA").unwrap();
        let password = std::fs::read_to_string(named("JOURNEYLOG_TEST_KAFKA_TLS_PASSWORD").unwrap()).unwrap();
        let password = password.trim().to_owned();
        assert!(password.len() > 20, "a password that appears nowhere by chance");
        Some(Self { brokers, ca, password })
    }

    /// What an operator writes.
    fn options(&self, mechanism: &str) -> Options {
        let properties = [
            ("security.protocol", "SASL_SSL"),
            ("ssl.ca.location", &self.ca),
            ("sasl.mechanism", mechanism),
            ("sasl.username", "journeylog"),
            ("sasl.password", &self.password),
        ];
        let properties = properties.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Options { properties: BTreeMap::from(properties), ..Options::default() }
    }

    /// A topic that there isn't yet.
    fn url(&self) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        format!(
            "kafka://{}/secure-{now}-{}-{n}?partitions={PARTITIONS}&replication=1",
            self.brokers,
            std::process::id()
        )
    }

    /// What opening a log with other properties answers, soon; brokers that can't be reached may be waited for so long.
    async fn refusal(&self, url: &str, connect_timeout: Duration, changed: &[(&str, Option<&str>)]) -> String {
        let mut options = Options { connect_timeout, ..self.options("SCRAM-SHA-512") };
        for (name, value) in changed {
            options.properties.remove(*name);
            if let Some(value) = value {
                options.properties.insert((*name).to_owned(), (*value).to_owned());
            }
        }
        let (begun, said) = (Instant::now(), format!("{changed:?}"));
        let answer = tokio::time::timeout(SOON, open(url, &options)).await;
        let error = answer.expect("no answer").err().unwrap_or_else(|| panic!("{said} is taken"));
        println!("{said} after {:?}: {error}", begun.elapsed());
        for secret in options.properties.get("sasl.password").into_iter().chain([&self.password]) {
            assert!(!format!("{error} {error:?}").contains(secret.as_str()), "the password is in the error");
        }
        assert!(error.to_string().contains(&self.brokers) || matches!(error, LogError::Configuration(_)), "{error}");
        error.to_string()
    }
}

struct Zero;

impl Start for Zero {
    fn offsets<'a>(&'a self, partitions: &'a [u32]) -> BoxFuture<'a, Result<Vec<u64>, LogError>> {
        Box::pin(async move { Ok(vec![0; partitions.len()]) })
    }
}

fn records() -> Vec<NewRecord> {
    let one = |i: usize| NewRecord {
        key: Bytes::from(format!("k{i}")),
        value: Bytes::from(i.to_string()),
        headers: vec![("id", Bytes::from(i.to_string()))],
    };
    (0..RECORDS).map(one).collect()
}

/// By a question, a single read, a scan and a subscription, each a client of its own.
async fn assert_all_read_it(log: &Arc<dyn Log>, group: &str) {
    let (mut read, mut scanned) = (0, 0);
    for (partition, (first, end)) in (0..).zip(log.bounds().await.unwrap()) {
        read += log.read(partition, first, RECORDS).await.unwrap().len();
        let batches: Vec<Vec<Record>> = log.scan(partition, first, end).map(Result::unwrap).collect().await;
        scanned += batches.concat().len();
    }
    assert_eq!((read, scanned), (RECORDS, RECORDS));
    let mut reader = log.subscribe(group, Arc::new(Zero)).await.unwrap();
    let mut subscribed = 0;
    while subscribed < RECORDS {
        if let Delivery::Records(more) = tokio::time::timeout(PATIENCE, reader.next(1000)).await.unwrap().unwrap() {
            subscribed += more.len();
        }
    }
    assert_eq!(subscribed, RECORDS);
    reader.close().await;
}

async fn makes_appends_and_reads(tls: &Tls, mechanism: &str) {
    let (url, options) = (tls.url(), tls.options(mechanism));
    let log = open(&url, &options).await.unwrap();
    for answer in log.append(records()).await {
        answer.unwrap();
    }
    assert_all_read_it(&log, &topic(&url).unwrap().unwrap()).await;
    // one that is there is checked
    assert_eq!(open(&url, &options).await.unwrap().partitions(), PARTITIONS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_by_plain() {
    let Some(tls) = Tls::port("a_log_by_plain") else { return };
    makes_appends_and_reads(&tls, "PLAIN").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_by_scram() {
    let Some(tls) = Tls::port("a_log_by_scram") else { return };
    makes_appends_and_reads(&tls, "SCRAM-SHA-512").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_inbox_in_transactions() {
    let Some(tls) = Tls::port("the_inbox_in_transactions") else { return };
    let (url, options) = (tls.url(), tls.options("SCRAM-SHA-512"));
    let name = topic(&url).unwrap().unwrap();
    let log = open(&url, &options).await.unwrap();
    let inbox = open(&url.replace(&name, &format!("{name}.in")), &options).await.unwrap();
    for answer in inbox.append(records()).await {
        answer.unwrap();
    }
    let names = RelayOptions {
        inbox: format!("{name}.in"),
        refused: format!("{name}.no"),
        group: format!("{name}.group"),
        inbox_retention: Duration::from_secs(3_600),
        refused_retention: Duration::from_secs(86_400),
    };
    let mut relay = open_relay(&url, &options, names).await.unwrap();
    let (begun, mut moved) = (Instant::now(), 0);
    while moved < RECORDS {
        assert!(begun.elapsed() < PATIENCE, "{moved} records");
        let taken = match relay.take(Duration::from_millis(200)) {
            Ok(taken) => taken.records,
            Err(LogError::Unavailable(_)) => continue,
            Err(error) => panic!("{error}"),
        };
        // the partitions may not have come yet
        if taken.is_empty() {
            continue;
        }
        let out =
            taken.into_iter().map(|r| NewRecord { key: r.key.unwrap(), value: r.value.unwrap(), headers: vec![] });
        let out: Vec<Outgoing> = out.map(Outgoing::Log).collect();
        let count = out.len();
        relay.commit(out).unwrap();
        moved += count;
    }
    // a transaction's markers are written after its commit was answered
    while log.bounds().await.unwrap().iter().map(|(_, end)| end).sum::<u64>() < RECORDS as u64 {
        assert!(begun.elapsed() < PATIENCE, "the log doesn't show what was moved");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_named() {
    let Some(tls) = Tls::port("a_wrong_password_is_named") else { return };
    let url = tls.url();
    for mechanism in ["PLAIN", "SCRAM-SHA-512"] {
        let changed = [("sasl.mechanism", Some(mechanism)), ("sasl.password", Some("not-the-password-4711"))];
        let why = tls.refusal(&url, PATIENCE, &changed).await;
        assert!(why.contains("not as configured") && why.contains("Authentication failed"), "{why}");
    }
    let why = tls.refusal(&url, PATIENCE, &[("sasl.mechanism", Some("SCRAM-SHA-256"))]).await;
    assert!(why.contains("not as configured") && why.contains("SCRAM-SHA-256"), "{why}");
    assert!(open(&url, &tls.options("PLAIN")).await.is_ok(), "what is right is taken at the same time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_trusted_is_named() {
    let Some(tls) = Tls::port("a_certificate_that_is_not_trusted_is_named") else { return };
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), STRANGER).unwrap();
    let path = file.path().to_str().unwrap();
    for authority in [Some(path), None] {
        let why = tls.refusal(&tls.url(), PATIENCE, &[("ssl.ca.location", authority)]).await;
        assert!(why.contains("not as configured") && why.contains("certificate verify failed"), "{why}");
    }
    let why = tls.refusal(&tls.url(), PATIENCE, &[("ssl.ca.location", Some("/nowhere/ca.pem"))]).await;
    assert!(why.contains("ssl.ca.location"), "{why}");
    // the same address under a name that the certificate doesn't have
    let other = Tls { brokers: tls.brokers.replace("127.0.0.1", "127.1"), ..tls };
    let why = other.refusal(&other.url(), PATIENCE, &[]).await;
    assert!(why.contains("not as configured") && why.contains("certificate verify failed"), "{why}");
}

/// Without TLS where there is TLS, with TLS but without SASL, and with both where there is neither.
#[tokio::test(flavor = "multi_thread")]
async fn another_protocol_is_named() {
    let Some(tls) = Tls::port("another_protocol_is_named") else { return };
    for protocol in [None, Some("SASL_PLAINTEXT"), Some("SSL")] {
        let why = tls.refusal(&tls.url(), LIMIT, &[("security.protocol", protocol)]).await;
        assert!(why.contains("security.protocol"), "{why}");
    }
    let plain = Tls { brokers: std::env::var("JOURNEYLOG_TEST_KAFKA").unwrap(), ..tls };
    let why = plain.refusal(&plain.url(), LIMIT, &[]).await;
    assert!(why.contains("security.protocol"), "{why}");
}

/// The key, version and correlation id of a request, which is read to its end.
async fn request(socket: &mut TcpStream) -> std::io::Result<[u8; 8]> {
    let (size, mut head) = (socket.read_u32().await? as usize, [0; 8]);
    socket.read_exact(&mut head).await?;
    socket.read_exact(&mut vec![0; size - head.len()]).await?;
    Ok(head)
}

/// Answers which requests it takes (ApiVersions, form 3), and hangs up at the next one, SaslHandshake.
async fn hang_up(mut socket: TcpStream) -> std::io::Result<()> {
    const TAKEN: [(u8, u8); 4] = [(3, 9), (17, 1), (18, 3), (36, 1)];
    let head = request(&mut socket).await?;
    assert_eq!(head[..4], [0, 18, 0, 3], "ApiVersions, form 3");
    let mut answer = head[4..].to_vec();
    answer.extend([0, 0, TAKEN.len() as u8 + 1]);
    answer.extend(TAKEN.into_iter().flat_map(|(key, most)| [0, key, 0, 0, 0, most, 0]));
    answer.extend([0; 5]);
    socket.write_u32(answer.len() as u32).await?;
    socket.write_all(&answer).await?;
    let head = request(&mut socket).await?;
    assert_eq!(head[..2], [0, 17], "SaslHandshake");
    Ok(())
}

/// As one may that is just starting, or a proxy before it.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_hangs_up_in_the_midst_of_sasl_is_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("kafka://{}/starting", listener.local_addr().unwrap());
    let broker = tokio::spawn(async move {
        for hung_up in 0.. {
            let (socket, _) = listener.accept().await.unwrap();
            assert!(hang_up(socket).await.is_ok(), "after {hung_up} connections");
        }
    });
    let named = [("security.protocol", "SASL_PLAINTEXT"), ("sasl.mechanism", "PLAIN"), ("sasl.username", "a")];
    let named = named.into_iter().chain([("sasl.password", "b")]);
    let properties = named.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let begun = Instant::now();
    let error = open(&url, &Options { properties, connect_timeout: LIMIT, ..Options::default() }).await.err().unwrap();
    println!("after {:?}: {error}", begun.elapsed());
    assert!(matches!(error, LogError::Unavailable(_)) && begun.elapsed() >= LIMIT, "{error}");
    assert!(!broker.is_finished(), "{:?}", broker.await);
}
