//! Reading msgpack that anybody may have written.

use serde::de::DeserializeOwned;

/// Nothing of ours is nested deeper, nor what later versions append. The library goes so deep by recursion that its own
/// limit, a thousand and more, overflows a small stack.
const DEEPEST: usize = 16;

/// `None` where it is nothing of the kind.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let mut decoder = rmp_serde::Deserializer::new(bytes);
    decoder.set_max_depth(DEEPEST);
    T::deserialize(&mut decoder).ok()
}
