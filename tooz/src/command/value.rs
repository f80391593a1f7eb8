//! Foreign bytes as JSON, without losing any.
//!
//! What JSON has no word for is shown as an object with one key: bytes as `{"$bin": "<hex>"}`, an extension
//! type (Python's UUIDs, dates and sets) as `{"$ext": [<type>, "<hex>"]}`, a number that is none as
//! `{"$float": "NaN"}`. Map keys that are bytes become text if they are UTF-8, else `$bin:<hex>`.

use rmpv::Value;
use serde_json::{Map, Number, Value as Json, json};
use tooz::Capabilities;

/// A member's capabilities.
pub(crate) fn capabilities(capabilities: &Capabilities) -> Json {
    match capabilities.value() {
        Ok(value) => from_msgpack(&value),
        Err(_) => bytes(capabilities.as_bytes()),
    }
}

/// A text where it is one, else the bytes.
pub(crate) fn text_or_bytes(raw: &[u8]) -> Json {
    std::str::from_utf8(raw).map_or_else(|_| bytes(raw), Json::from)
}

fn bytes(raw: &[u8]) -> Json {
    json!({ "$bin": hex(raw) })
}

fn from_msgpack(value: &Value) -> Json {
    match value {
        Value::Nil => Json::Null,
        Value::Boolean(yes) => Json::Bool(*yes),
        Value::Integer(number) => number
            .as_u64()
            .map(Number::from)
            .or_else(|| number.as_i64().map(Number::from))
            .map_or(Json::Null, Json::Number),
        Value::F32(number) => float(f64::from(*number)),
        Value::F64(number) => float(*number),
        Value::String(text) => text_or_bytes(text.as_bytes()),
        Value::Binary(raw) => bytes(raw),
        Value::Array(items) => Json::Array(items.iter().map(from_msgpack).collect()),
        Value::Map(pairs) => {
            let pairs = pairs.iter().map(|(key, value)| (self::key(key), from_msgpack(value)));
            Json::Object(pairs.collect::<Map<_, _>>())
        }
        Value::Ext(kind, raw) => json!({ "$ext": [kind, hex(raw)] }),
    }
}

fn float(number: f64) -> Json {
    Number::from_f64(number).map_or_else(|| json!({ "$float": number.to_string() }), Json::Number)
}

fn key(key: &Value) -> String {
    let raw = match key {
        Value::String(text) => text.as_bytes(),
        Value::Binary(raw) => raw,
        other => return other.to_string(),
    };
    std::str::from_utf8(raw).map_or_else(|_| format!("$bin:{}", hex(raw)), str::to_owned)
}

fn hex(raw: &[u8]) -> String {
    raw.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(msgpack: &'static [u8]) -> Json {
        capabilities(&Capabilities::from_msgpack(msgpack).unwrap())
    }

    #[test]
    fn plain_values_are_plain_json() {
        assert_eq!(shown(b"\xc0"), Json::Null);
        assert_eq!(shown(b"\x81\xa6weight\x03"), json!({ "weight": 3 }));
        assert_eq!(shown(b"\x92\xff\xcb\x3f\xf8\0\0\0\0\0\0"), json!([-1, 1.5]));
    }

    #[test]
    fn what_json_has_no_word_for_keeps_every_byte() {
        assert_eq!(shown(b"\xc4\x02\x00\xff"), json!({ "$bin": "00ff" }));
        assert_eq!(shown(b"\xd5\x04\x91\x01"), json!({ "$ext": [4, "9101"] }));
        assert_eq!(shown(b"\xa1\xff"), json!({ "$bin": "ff" }));
        assert_eq!(shown(b"\x81\xc4\x01\xff\x01"), json!({ "$bin:ff": 1 }));
        assert_eq!(shown(b"\xcb\x7f\xf8\0\0\0\0\0\0"), json!({ "$float": "NaN" }));
    }
}
