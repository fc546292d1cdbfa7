use super::*;
use crate::hl7::tests::{Bed, message};
use crate::testing::Mood;
use bytes::Bytes;
use proptest::prelude::*;
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// The blocks of bytes that come in these pieces.
fn blocks(pieces: &[&[u8]], limit: usize) -> (Vec<Block>, u64) {
    let mut frames = Frames::new(limit);
    let mut found = Vec::new();
    for piece in pieces {
        frames.buffer().extend_from_slice(piece);
        while let Some(block) = frames.next_block() {
            found.push(block);
        }
    }
    (found, frames.noise())
}

fn whole(text: &str) -> Block {
    Block::Whole(Bytes::copy_from_slice(text.as_bytes()))
}

#[test]
fn noise_several_blocks_in_a_read_and_blocks_begun_anew() {
    let (found, noise) = blocks(&[b"xx\x0bone\x1c\r\n\n\x0btwo\x1c\r\x0bhalf\x0bMSH|3\x1c\r"], 100);
    assert_eq!(found, [whole("one"), whole("two"), whole("MSH|3")]);
    assert_eq!(noise, 2 + 2 + 4);
    let (found, _) = blocks(&[b"\x0ba\x1cb\x1c\r", b"\x0bc\x1c", b"\n\x0bd\x1c\x0be\x1c\r\x0bf"], 100);
    assert_eq!(found, [whole("a\x1cb"), whole("c"), whole("d"), whole("e")]);
}

#[test]
fn a_start_byte_in_the_text_begins_nothing_unless_a_header_follows() {
    let text = "MSH|1\r\x0bNTE|\x0b a\x0b\x0b|M\x0bM\x0bMS\x0bMS\x0bMSG|\x0bBH|\u{feff}\x0b\u{feff}M\x0b";
    let stream =
        format!("\x0b{text}\x1c\r\x0bMSH|half\x0b\x0bMSH|2\x1c\r\x0b\x0bBHS|3\x1c\r\x0bhalf\x0b\u{feff}FHS|4\x1c\r");
    let stream = stream.as_bytes();
    let expected = [whole(text), whole("MSH|2"), whole("BHS|3"), whole("\u{feff}FHS|4")];
    assert_eq!(blocks(&stream.chunks(1).collect::<Vec<_>>(), 100).0, expected);
    for at in 0..stream.len() {
        let (first, second) = stream.split_at(at);
        assert_eq!(blocks(&[first, second], 100).0, expected, "split at {at}");
    }
}

#[test]
fn a_block_that_is_too_long_is_told_and_the_next_one_taken() {
    let long = [b"\x0b".as_slice(), &[b'x'; 50], b"\x1c\r\x0bok\x1c\r"].concat();
    for pieces in [vec![long.as_slice()], long.chunks(1).collect(), long.chunks(7).collect()] {
        let (found, _) = blocks(&pieces, 10);
        assert_eq!(found, [Block::TooLong(Bytes::from_static(b"xxxxxxxxxx"), 10), whole("ok")]);
    }
    let mut frames = Frames::new(10);
    for _ in 0..1_000 {
        frames.buffer().extend_from_slice(b"\x0bxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
        assert_eq!(frames.next_block(), None);
        frames.buffer().extend_from_slice(&[b'y'; 500]);
        assert_eq!(frames.next_block(), None);
        assert!(frames.buffer().len() <= 600, "{}", frames.buffer().len());
    }
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        3 => Just(START), 3 => Just(END), 3 => Just(b'\r'), 1 => Just(b'\n'), 4 => any::<u8>(), 6 => b'a'..=b'z'
    ];
    let piece =
        prop_oneof![8 => byte.prop_map(|b| vec![b]), 1 => Just(b"MSH".to_vec()), 1 => Just(b"\x0bFHS".to_vec())];
    prop::collection::vec(piece, 0..150).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_split_of_bytes_gives_the_same_blocks(bytes in bytes(), cuts in prop::collection::vec(0..200_usize, 0..20), limit in 1..60_usize) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(bytes.len())).chain([0, bytes.len()]).collect();
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
        let split = blocks(&pieces, limit).0;
        prop_assert_eq!(&split, &blocks(&[&bytes], limit).0);
        prop_assert_eq!(split, blocks(&bytes.chunks(1).collect::<Vec<_>>(), limit).0);
    }

    #[test]
    fn what_was_framed_comes_out(texts in prop::collection::vec("[ -~\r]{0,50}", 0..10)) {
        let mut stream = Vec::new();
        texts.iter().for_each(|t| frame(t.as_bytes(), &mut stream));
        let expected: Vec<Block> = texts.iter().map(|t| whole(t)).collect();
        prop_assert_eq!(blocks(&[&stream], 100).0, expected);
    }
}

async fn start(bed: &Bed, limits: Limits) -> (SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (at, cancel) = (listener.local_addr().unwrap(), CancellationToken::new());
    (at, cancel.clone(), tokio::spawn(serve(listener, None, bed.receiver.clone(), limits, cancel)))
}

async fn send(io: &mut TcpStream, text: &str) {
    let mut out = Vec::new();
    frame(text.as_bytes(), &mut out);
    io.write_all(&out).await.unwrap();
}

/// The next block, as text; `None` at the end of the connection.
async fn answer(io: &mut TcpStream) -> Option<String> {
    let mut text = Vec::new();
    loop {
        match timeout(Duration::from_secs(20), io.read_u8()).await.expect("an answer or an end").ok()? {
            START => {}
            END => break,
            byte => text.push(byte),
        }
    }
    assert_eq!(io.read_u8().await.unwrap(), b'\r');
    Some(String::from_utf8(text).unwrap())
}

#[tokio::test]
async fn blocks_sent_together_are_answered_in_order() {
    let bed = Bed::new();
    let (at, ..) = start(&bed, Limits { in_flight: 3, ..Limits::default() }).await;
    let mut io = TcpStream::connect(at).await.unwrap();
    let mut all = b"noise".to_vec();
    for n in 0..10 {
        frame(message("ADT^A01", &format!("m{n}"), "").as_bytes(), &mut all);
    }
    for piece in all.chunks(100) {
        io.write_all(piece).await.unwrap();
    }
    for n in 0..10 {
        let text = answer(&mut io).await.unwrap();
        assert!(text.contains(&format!("\rMSA|AA|m{n}\r")), "{text}");
    }
    let logged: Vec<_> = bed.events().iter().map(|e| e.header().source.message_id.clone().unwrap()).collect();
    assert_eq!(logged, (0..10).map(|n| format!("m{n}")).collect::<Vec<_>>(), "one patient's messages keep their order");
}

#[tokio::test]
async fn silent_trickling_and_noisy_senders_are_cut_off() {
    let bed = Bed::new();
    let limits = Limits { idle: Duration::from_millis(300), block: Duration::from_millis(300), ..Limits::default() };
    let (at, ..) = start(&bed, limits).await;
    let mut silent = TcpStream::connect(at).await.unwrap();
    assert_eq!(answer(&mut silent).await, None);
    for byte in [b"\x0b".as_slice(), b"x"] {
        let mut io = TcpStream::connect(at).await.unwrap();
        io.write_all(byte).await.unwrap();
        let begun = Instant::now();
        // A byte every now and then doesn't make it longer.
        while io.write_all(b"x").await.is_ok() {
            assert!(begun.elapsed() < Duration::from_secs(20), "it is never cut off");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    assert_eq!(bed.log.len(), 0);
}

#[tokio::test]
async fn a_half_block_is_given_up_and_a_long_one_answered() {
    let bed = Bed::new();
    let (at, ..) = start(&bed, Limits { block_bytes: 1_000, ..Limits::default() }).await;
    let mut io = TcpStream::connect(at).await.unwrap();
    io.write_all(b"\x0bMSH|^~\\&|half").await.unwrap();
    send(&mut io, &message("ADT^A01", "m1", "")).await;
    assert!(answer(&mut io).await.unwrap().contains("MSA|AA|m1"));
    send(&mut io, &message("ADT^A01", "m2", &format!("NTE|1||{}", "x".repeat(2_000)))).await;
    let text = answer(&mut io).await.unwrap();
    assert!(
        text.contains("MSA|AE|m2|the message is longer than the 1000 bytes") && text.contains("ERR||MSH^1|207^"),
        "{text}"
    );
    send(&mut io, &message("ADT^A01", "m3", "")).await;
    assert!(answer(&mut io).await.unwrap().contains("MSA|AA|m3"));
}

#[tokio::test]
async fn a_start_byte_in_a_note_is_no_reason_to_refuse_a_message() {
    let bed = Bed::new();
    let (at, ..) = start(&bed, Limits::default()).await;
    let mut io = TcpStream::connect(at).await.unwrap();
    for id in ["m1", "m2"] {
        send(&mut io, &message("ADT^A01", id, "NTE|1||first line\x0bsecond line\r")).await;
        assert!(answer(&mut io).await.unwrap().contains(&format!("MSA|AA|{id}\r")));
    }
    assert_eq!(bed.log.len(), 2);
}

#[tokio::test]
async fn connections_are_limited_and_free_again_afterwards() {
    let bed = Bed::new();
    let (at, ..) = start(&bed, Limits { connections: 2, ..Limits::default() }).await;
    let mut first = TcpStream::connect(at).await.unwrap();
    send(&mut first, &message("ADT^A01", "m1", "")).await;
    answer(&mut first).await.unwrap();
    let mut second = TcpStream::connect(at).await.unwrap();
    send(&mut second, &message("ADT^A01", "m2", "")).await;
    answer(&mut second).await.unwrap();
    let mut third = TcpStream::connect(at).await.unwrap();
    assert_eq!(answer(&mut third).await, None);
    drop(first);
    let begun = Instant::now();
    loop {
        let mut io = TcpStream::connect(at).await.unwrap();
        send(&mut io, &message("ADT^A01", "m3", "")).await;
        if answer(&mut io).await.is_some() {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_flood_is_read_no_faster_than_the_log_takes_it() {
    let bed = Bed::new();
    *bed.log.delay.lock().unwrap() = Duration::from_millis(50);
    let limits = Limits { in_flight: 4, write: Duration::from_millis(500), ..Limits::default() };
    let (at, ..) = start(&bed, limits).await;
    let mut io = TcpStream::connect(at).await.unwrap();
    // It never reads an answer, and sends until nobody takes any more.
    let mut sent = 0_u64;
    let note = format!("NTE|1||{}", "x".repeat(20_000));
    loop {
        let mut out = Vec::new();
        frame(message("ADT^A01", &format!("m{sent}"), &note).as_bytes(), &mut out);
        match timeout(Duration::from_millis(200), io.write_all(&out)).await {
            Ok(Ok(())) => sent += 1,
            _ => break,
        }
    }
    let waiting = sent - bed.log.len() as u64;
    // What the sockets of the system hold, and no more than a few here.
    assert!(waiting * 20_000 < 32 << 20, "{waiting} blocks wait");
}

#[tokio::test]
async fn with_the_log_away_there_is_no_positive_answer_and_a_stop_lets_answers_out() {
    let bed = Bed::new();
    let (at, cancel, server) = start(&bed, Limits::default()).await;
    let mut io = TcpStream::connect(at).await.unwrap();
    bed.log.set(Mood::Away);
    send(&mut io, &message("ADT^A01", "m1", "")).await;
    assert!(answer(&mut io).await.unwrap().contains("MSA|AR|m1|"));
    bed.log.set(Mood::Fine);
    send(&mut io, &message("ADT^A01", "m1", "")).await;
    assert!(answer(&mut io).await.unwrap().contains("MSA|AA|m1\r"));
    *bed.log.delay.lock().unwrap() = Duration::from_millis(300);
    send(&mut io, &message("ADT^A01", "m2", "")).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    cancel.cancel();
    assert!(answer(&mut io).await.unwrap().contains("MSA|AA|m2\r"));
    assert_eq!(answer(&mut io).await, None);
    server.await.unwrap();
}
