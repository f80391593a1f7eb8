//! What a member says about itself, as msgpack that Python members read too.

use std::fmt;

use bytes::Bytes;
use rmpv::Value;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind, Result};

/// The largest capabilities in bytes of msgpack.
pub const MAX_CAPABILITIES_BYTES: usize = 64 * 1024;

/// The deepest nesting of capabilities.
pub const MAX_CAPABILITIES_DEPTH: usize = 16;

/// A member's capabilities: valid msgpack of at most 64 KiB, nested at most 16 deep, whose map keys are
/// text or bytes. Extension types (Python's UUIDs, datetimes, sets) are carried untouched.
///
/// ```
/// use tooz_core::Capabilities;
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Caps { weight: u32 }
///
/// let caps = Capabilities::of(&Caps { weight: 3 })?;
/// assert_eq!(caps.as_bytes().as_ref(), b"\x81\xa6weight\x03");
/// assert_eq!(caps.read::<Caps>()?.weight, 3);
/// # Ok::<(), tooz_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Capabilities(Bytes);

impl Capabilities {
    /// Encodes any serializable value; structs become maps with their field names, `()` becomes nil.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidValue`] if the value cannot be encoded within the limits.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self> {
        let bytes = rmp_serde::to_vec_named(value)
            .map_err(|e| invalid(format!("capabilities cannot be encoded as msgpack: {e}")))?;
        Self::from_msgpack(bytes)
    }

    /// Takes msgpack as it is.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidValue`] if it is not valid msgpack within the limits.
    pub fn from_msgpack(bytes: impl Into<Bytes>) -> Result<Self> {
        let caps = Self(bytes.into());
        caps.value()?;
        Ok(caps)
    }

    /// Takes what another client left in a store: `None` where it is no valid msgpack within the limits.
    pub(crate) fn from_store(bytes: Bytes) -> Option<Self> {
        Self::from_msgpack(bytes).ok()
    }

    /// The msgpack.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// Decodes into any deserializable type.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidValue`] if the capabilities have another shape.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T> {
        let mut decoder = rmp_serde::Deserializer::new(self.0.as_ref());
        decoder.set_max_depth(MAX_CAPABILITIES_DEPTH * 4);
        T::deserialize(&mut decoder).map_err(|e| invalid(format!("capabilities have another shape: {e}")))
    }

    /// The decoded tree.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidValue`] if it is not valid msgpack within the limits.
    pub fn value(&self) -> Result<Value> {
        if self.0.len() > MAX_CAPABILITIES_BYTES {
            let text = format!(
                "capabilities have {} bytes: at most {MAX_CAPABILITIES_BYTES} are allowed",
                self.0.len()
            );
            return Err(invalid(text));
        }
        let mut rest = self.0.as_ref();
        let value =
            rmpv::decode::read_value_with_max_depth(&mut rest, MAX_CAPABILITIES_DEPTH).map_err(|e| {
                invalid(format!(
                    "capabilities are no msgpack of at most {MAX_CAPABILITIES_DEPTH} levels: {e}"
                ))
            })?;
        if !rest.is_empty() {
            return Err(invalid(format!("capabilities have {} bytes after their end", rest.len())));
        }
        check_keys(&value)?;
        Ok(value)
    }
}

/// No capabilities: nil.
impl Default for Capabilities {
    fn default() -> Self {
        Self(Bytes::from_static(&[0xc0]))
    }
}

impl fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value() {
            Ok(value) => write!(f, "Capabilities({value})"),
            Err(_) => write!(f, "Capabilities({} unreadable bytes)", self.0.len()),
        }
    }
}

fn check_keys(value: &Value) -> Result<()> {
    match value {
        Value::Array(items) => items.iter().try_for_each(check_keys),
        Value::Map(pairs) => pairs.iter().try_for_each(|(key, value)| {
            if !matches!(key, Value::String(_) | Value::Binary(_)) {
                return Err(invalid(format!("capabilities have the map key {key}: keys are text or bytes")));
            }
            check_keys(value)
        }),
        _ => Ok(()),
    }
}

fn invalid(text: String) -> Error {
    Error::new(ErrorKind::InvalidValue, text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn encodes_as_python_does() {
        assert_eq!(Capabilities::of(&()).unwrap().as_bytes().as_ref(), b"\xc0");
        assert_eq!(Capabilities::default(), Capabilities::of(&()).unwrap());
        assert_eq!(Capabilities::of(&BTreeMap::<String, u8>::new()).unwrap().as_bytes().as_ref(), b"\x80");
        let weight = BTreeMap::from([("weight", 3)]);
        assert_eq!(Capabilities::of(&weight).unwrap().as_bytes().as_ref(), b"\x81\xa6weight\x03");
    }

    #[test]
    fn extension_types_are_carried_untouched() {
        let uuid = [b"\xc7\x20\x00".as_slice(), &[b'a'; 32]].concat();
        assert_eq!(Capabilities::from_msgpack(uuid.clone()).unwrap().as_bytes().as_ref(), uuid);
    }

    #[test]
    fn what_breaks_the_limits_is_refused() {
        let deep = [vec![0x91; 17], vec![0xc0]].concat();
        let huge_claim = b"\xdd\xff\xff\xff\xff".to_vec();
        let large = Capabilities::of(&"x".repeat(70_000));
        for error in [
            Capabilities::from_msgpack(deep).unwrap_err(),
            Capabilities::from_msgpack(huge_claim).unwrap_err(),
            Capabilities::from_msgpack(b"\x81\x01\x02".to_vec()).unwrap_err(),
            Capabilities::from_msgpack(b"\xc0\xc0".to_vec()).unwrap_err(),
            Capabilities::from_msgpack(Vec::new()).unwrap_err(),
            large.unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::InvalidValue, "{error}");
        }
    }
}
