use super::*;

fn kinds(splitter: &mut Splitter, arrived: &[u8]) -> Vec<(Vec<u8>, Kind)> {
    splitter.split(arrived).into_iter().map(|frame| (frame.bytes, frame.kind)).collect()
}

/// Byte by byte gives the same frames as all at once.
fn whole(protocol: Protocol, way: Way, text: &[u8]) -> Vec<Kind> {
    let at_once = kinds(&mut Splitter::new(protocol, way), text);
    let mut splitter = Splitter::new(protocol, way);
    let piecemeal: Vec<_> = text.chunks(1).flat_map(|piece| kinds(&mut splitter, piece)).collect();
    assert_eq!(piecemeal, at_once);
    assert_eq!(at_once.iter().flat_map(|(bytes, _)| bytes).copied().collect::<Vec<_>>(), text);
    at_once.into_iter().map(|(_, kind)| kind).collect()
}

#[test]
fn redis_commands_are_split_wherever_the_network_split_them() {
    let text = b"*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\nc\r\n";
    assert_eq!(whole(Protocol::Redis, Way::Up, text), [Kind::Call, Kind::Call, Kind::Note]);
}

#[test]
fn redis_pushes_are_no_answers() {
    let text = b"+OK\r\n>3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n*0\r\n_\r\n";
    let expected = [Kind::Call, Kind::Note, Kind::Note, Kind::Call, Kind::Call];
    assert_eq!(whole(Protocol::Redis, Way::Down, text), expected);
}

#[test]
fn zookeeper_pings_and_events_are_told_apart() {
    let frame = |numbers: &[i32]| {
        let length = i32::try_from(numbers.len() * 4).unwrap();
        std::iter::once(&length).chain(numbers).flat_map(|number| number.to_be_bytes()).collect::<Vec<_>>()
    };
    // The session's first frame begins as a ping would.
    let up = [frame(&[-2, 0]), frame(&[-2, 11]), frame(&[1, 15, 9])].concat();
    assert_eq!(whole(Protocol::Zookeeper, Way::Up, &up), [Kind::Call, Kind::Noise, Kind::Call]);
    let commands: Vec<_> = Splitter::new(Protocol::Zookeeper, Way::Up).split(&up);
    let commands: Vec<_> = commands.into_iter().filter_map(|frame| frame.command).collect();
    assert_eq!(commands, ["connect", "ping", "create"]);

    let down = [frame(&[0, 1]), frame(&[-1, 3]), frame(&[-2]), frame(&[1, 0, 5])].concat();
    assert_eq!(
        whole(Protocol::Zookeeper, Way::Down, &down),
        [Kind::Call, Kind::Note, Kind::Noise, Kind::Call]
    );
}

#[test]
fn grpc_calls_are_counted_when_they_end() {
    let frame = |kind: u8, flags: u8, stream: u8, body: &[u8]| {
        let length = u8::try_from(body.len()).unwrap();
        [&[0, 0, length, kind, flags, 0, 0, 0, stream], body].concat()
    };
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let up =
        [preface, frame(4, 0, 0, b""), frame(1, 4, 1, b"h"), frame(0, 0, 1, b"key"), frame(0, 1, 1, b"")]
            .concat();
    let expected = [Kind::Noise, Kind::Noise, Kind::Noise, Kind::Noise, Kind::Call];
    assert_eq!(whole(Protocol::Grpc, Way::Up, &up), expected);
    let streams: Vec<_> =
        Splitter::new(Protocol::Grpc, Way::Up).split(&up).iter().map(|frame| frame.stream).collect();
    assert_eq!(streams, [None, None, Some(1), Some(1), Some(1)]);

    let down =
        [frame(4, 1, 0, b""), frame(1, 4, 1, b"h"), frame(0, 0, 1, b"value"), frame(1, 5, 1, b"t")].concat();
    assert_eq!(whole(Protocol::Grpc, Way::Down, &down), [Kind::Noise, Kind::Noise, Kind::Noise, Kind::Call]);
}

#[test]
fn what_is_not_of_the_protocol_passes_unchanged() {
    for protocol in [Protocol::Redis, Protocol::Zookeeper, Protocol::Grpc] {
        let mut splitter = Splitter::new(protocol, Way::Up);
        for text in [b"GET / HTTP/1.1\r\n".as_slice(), b"*1\r\n"] {
            assert_eq!(kinds(&mut splitter, text), [(text.to_vec(), Kind::Call)], "{protocol:?}");
        }
    }
}
