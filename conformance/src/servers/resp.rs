//! Redis' protocol, as much as fixtures and the proxy need: pure, both versions.

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Absent.
    Nil,
    /// A text of any kind: bulk, simple, verbatim, number with a point, big number.
    Text(Vec<u8>),
    /// A whole number, or a boolean as 0 and 1.
    Number(i64),
    /// An error, with its text.
    Error(String),
    /// Values in order: array, set, push; a map's keys and values in turn.
    List(Vec<Value>),
}

impl Value {
    /// As text, whatever it is; an error shows as such.
    pub fn text(&self) -> String {
        match self {
            Self::Nil => "(nil)".to_owned(),
            Self::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Self::Number(number) => number.to_string(),
            Self::Error(text) => format!("(error) {text}"),
            Self::List(values) => values.iter().map(Self::text).collect::<Vec<_>>().join("\n"),
        }
    }

    /// The number it is or spells.
    pub fn number(&self) -> Option<i64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
            _ => None,
        }
    }

    /// The values in it, if it is a list.
    pub fn list(&self) -> &[Value] {
        match self {
            Self::List(values) => values,
            _ => &[],
        }
    }
}

/// A command as bytes.
pub fn encode(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}

/// What the bytes begin with.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded {
    /// A value, in so many bytes. `true` if it is a push, which answers nothing.
    Whole(Value, usize, bool),
    /// The beginning of one.
    Part,
    /// Not this protocol.
    Foreign,
}

/// Reads the value that the bytes begin with.
pub fn decode(bytes: &[u8]) -> Decoded {
    let mut rest = bytes;
    let push = bytes.first() == Some(&b'>');
    match value(&mut rest) {
        Ok(value) => Decoded::Whole(value, bytes.len() - rest.len(), push),
        Err(Stop::Part) => Decoded::Part,
        Err(Stop::Foreign) => Decoded::Foreign,
    }
}

enum Stop {
    Part,
    Foreign,
}

fn value(rest: &mut &[u8]) -> Result<Value, Stop> {
    let Some((kind, after)) = rest.split_first() else { return Err(Stop::Part) };
    *rest = after;
    match kind {
        b'+' | b',' | b'(' => Ok(Value::Text(line(rest)?.to_vec())),
        b'-' => Ok(Value::Error(String::from_utf8_lossy(line(rest)?).into_owned())),
        b':' => Ok(Value::Number(number(rest)?)),
        b'#' => Ok(Value::Number(i64::from(line(rest)? == b"t"))),
        b'_' => line(rest).map(|_| Value::Nil),
        b'$' | b'=' | b'!' => {
            let Ok(length) = usize::try_from(number(rest)?) else { return Ok(Value::Nil) };
            let text = take(rest, length)?.to_vec();
            take(rest, 2)?;
            let error = || Value::Error(String::from_utf8_lossy(&text).into_owned());
            Ok(if *kind == b'!' { error() } else { Value::Text(text) })
        }
        b'*' | b'~' | b'>' => many(rest, 1),
        b'%' => many(rest, 2),
        b'|' => {
            many(rest, 2)?; // attributes of the value that follows
            value(rest)
        }
        _ => Err(Stop::Foreign),
    }
}

fn many(rest: &mut &[u8], each: usize) -> Result<Value, Stop> {
    let Ok(count) = usize::try_from(number(rest)?) else { return Ok(Value::Nil) };
    (0..count.saturating_mul(each)).map(|_| value(rest)).collect::<Result<_, _>>().map(Value::List)
}

fn number(rest: &mut &[u8]) -> Result<i64, Stop> {
    let line = line(rest)?;
    std::str::from_utf8(line).ok().and_then(|text| text.parse().ok()).ok_or(Stop::Foreign)
}

fn line<'bytes>(rest: &mut &'bytes [u8]) -> Result<&'bytes [u8], Stop> {
    let end = rest.windows(2).position(|pair| pair == b"\r\n").ok_or(Stop::Part)?;
    let line = take(rest, end)?;
    take(rest, 2)?;
    Ok(line)
}

fn take<'bytes>(rest: &mut &'bytes [u8], count: usize) -> Result<&'bytes [u8], Stop> {
    let (taken, after) = rest.split_at_checked(count).ok_or(Stop::Part)?;
    *rest = after;
    Ok(taken)
}
